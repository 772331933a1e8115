/** Tensors of ONNX files (TensorProto): where their elements lie, checked before anything is read, and the elements. */
import type { S3aError } from '../errors.ts';
import type { ByteFile } from './bytes.ts';
import type { Field, ProtobufReader } from './protobuf-reader.ts';
import { varint } from './protobuf-reader.ts';

/** Element types that are read, by their number in ONNX; float16 and bfloat16 come as their bits. */
const TYPES = {
  1: { dtype: 'F32', array: Float32Array, list: 4 },
  2: { dtype: 'U8', array: Uint8Array, list: 5 },
  3: { dtype: 'I8', array: Int8Array, list: 5 },
  4: { dtype: 'U16', array: Uint16Array, list: 5 },
  5: { dtype: 'I16', array: Int16Array, list: 5 },
  6: { dtype: 'I32', array: Int32Array, list: 5 },
  7: { dtype: 'I64', array: BigInt64Array, list: 7 },
  9: { dtype: 'BOOL', array: Uint8Array, list: 5 },
  10: { dtype: 'F16', array: Uint16Array, list: 5 },
  11: { dtype: 'F64', array: Float64Array, list: 10 },
  12: { dtype: 'U32', array: Uint32Array, list: 11 },
  13: { dtype: 'U64', array: BigUint64Array, list: 11 },
  16: { dtype: 'BF16', array: Uint16Array, list: 5 },
} as const;

/** Names of types that are known but not read. */
const UNREAD: Readonly<Record<number, string>> = { 8: 'STRING', 21: 'U4', 22: 'I4', 23: 'F4', 25: 'U2', 26: 'I2' };

export type OnnxArray = InstanceType<(typeof TYPES)[keyof typeof TYPES]['array']>;

/** What a tensor's elements are kept in outside the ONNX file. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
}

export interface OnnxTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly count: number;
  readonly type: number;
  /** Bytes of the elements as an array; NaN for types that are not read. */
  readonly byteLength: number;
  /** In the ONNX file: bytes as they are (`raw`), or a field of numbers of its own. */
  readonly inside?: { readonly raw: boolean; readonly start: number; readonly end: number };
  readonly outside?: ExternalPlace;
}

const MAX_NAME = 1 << 16;
const MAX_DIMENSIONS = 16;

/** Fields of TensorProto that hold elements, besides raw_data. */
const LISTS: readonly number[] = [4, 5, 6, 7, 10, 11];

/**
 * Reads the description of the tensor in the bytes [start, end).
 * @param fallback its name if it has none, as the value of a Constant node
 */
export async function readTensor(
  reader: ProtobufReader,
  start: number,
  end: number,
  bad: (what: string) => S3aError,
  fallback?: string,
): Promise<OnnxTensor> {
  let name = '';
  let type = 0;
  let raw: Field | undefined;
  let external = false;
  const dims: bigint[] = [];
  const lists: Field[] = [];
  const entries = new Map<string, string>();
  for await (const field of reader.fields(start, end)) {
    if (field.number === 1) dims.push(...(await reader.varints(field, 10 * MAX_DIMENSIONS)));
    else if (field.number === 2) type = Number(BigInt.asIntN(32, field.value));
    else if (field.number === 3) throw bad(`a tensor in segments at byte ${start}`);
    else if (field.number === 8) name = await reader.text(field, MAX_NAME);
    else if (field.number === 9) raw = field;
    else if (field.number === 13) entries.set(...(await readEntry(reader, field)));
    else if (field.number === 14) external = field.value === 1n;
    else if (LISTS.includes(field.number)) lists.push(field);
    // All known programs write a list of elements packed, in one piece.
    if (dims.length > MAX_DIMENSIONS) throw bad(`a tensor of more than ${MAX_DIMENSIONS} dimensions at byte ${start}`);
    if (lists.length > 1) throw bad(`a tensor whose elements are in pieces at byte ${start}`);
  }
  name = fallback ?? name;
  const label = `tensor ${JSON.stringify(name.slice(0, 200))}`;
  const shape = dims.map(Number);
  const count = shape.reduce((product, n) => product * n, 1);
  if (dims.some(n => n >= 2n ** 53n) || !Number.isSafeInteger(count))
    throw bad(`${label} of shape [${dims.map(n => BigInt.asIntN(64, n)).join(', ')}]`);
  const known = isRead(type) ? TYPES[type] : undefined;
  const byteLength = known ? count * known.array.BYTES_PER_ELEMENT : Number.NaN;
  const described = { name, dtype: known?.dtype ?? UNREAD[type] ?? `type ${type}`, shape, count, type, byteLength };
  if (!known) return described;
  if (external) return { ...described, outside: checkExternal(entries, byteLength, label, bad) };
  const [list] = lists;
  if (raw && list) throw bad(`${label} has its elements twice`);
  const inside = raw ?? list;
  if (!inside) {
    if (count > 0) throw bad(`${label} of shape [${shape}] has no elements`);
    return described;
  }
  checkInside(described, inside, Boolean(raw), label, bad);
  return { ...described, inside: { raw: Boolean(raw), start: inside.start, end: inside.end } };
}

function isRead(type: number): type is keyof typeof TYPES {
  return Object.hasOwn(TYPES, type);
}

async function readEntry(reader: ProtobufReader, entry: Field): Promise<[string, string]> {
  const texts = ['', ''];
  for await (const field of reader.fields(entry.start, entry.end)) {
    if (field.number === 1 || field.number === 2) texts[field.number - 1] = await reader.text(field, MAX_NAME);
  }
  return [texts[0], texts[1]];
}

/** The size must fit before anything of the size of the shape is allocated. */
function checkInside(
  { type, count, byteLength, shape, dtype }: OnnxTensor,
  field: Field,
  raw: boolean,
  label: string,
  bad: (what: string) => S3aError,
): void {
  const length = field.end - field.start;
  if (raw) {
    if (field.wire === 2 && length === byteLength) return;
    throw bad(`${label}, ${dtype} of shape [${shape}], takes ${byteLength} bytes but has ${length}`);
  }
  const { list, array } = TYPES[type as keyof typeof TYPES];
  const fixed = list === 4 || list === 10;
  const fits = fixed ? length === count * array.BYTES_PER_ELEMENT : length >= count && length <= count * 10;
  // One element may stand there unpacked.
  const wire = field.wire === 2 || (count === 1 && field.wire === (list === 4 ? 5 : list === 10 ? 1 : 0));
  if (field.number !== list || !wire || !fits) {
    throw bad(`${label}, ${dtype} of shape [${shape}], does not fit the ${length} bytes of its elements`);
  }
}

function checkExternal(
  entries: ReadonlyMap<string, string>,
  byteLength: number,
  label: string,
  bad: (what: string) => S3aError,
): ExternalPlace {
  const numberOf = (key: string, otherwise: number): number => {
    const text = entries.get(key);
    if (text === undefined) return otherwise;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw bad(`${label} has the ${key} ${JSON.stringify(text.slice(0, 40))}`);
    return value;
  };
  const length = numberOf('length', byteLength);
  if (length !== byteLength) throw bad(`${label} takes ${byteLength} bytes but has ${length}`);
  return { location: entries.get('location') ?? '', offset: numberOf('offset', 0) };
}

/** The byte at which the elements lie as they are, in the ONNX file or the external one; undefined for other tensors. */
export function rawStart({ inside, outside }: OnnxTensor): number | undefined {
  return outside?.offset ?? (inside?.raw ? inside.start : undefined);
}

/**
 * The elements of a tensor in C order.
 * @param file the ONNX file, or the external one
 */
export async function readElements(
  tensor: OnnxTensor,
  file: ByteFile,
  bad: (what: string) => S3aError,
): Promise<OnnxArray> {
  const label = `tensor ${JSON.stringify(tensor.name)}`;
  if (!isRead(tensor.type)) throw bad(`${label} has elements of ${tensor.dtype}, which are not read`);
  const { array: Elements, list } = TYPES[tensor.type];
  const { inside, byteLength, count } = tensor;
  const start = rawStart(tensor);
  if (start !== undefined) return new Elements((await file.read(start, byteLength)).buffer);
  if (!inside) return new Elements(0);
  const bytes = await file.read(inside.start, inside.end - inside.start);
  if (list === 4 || list === 10) return new Elements(bytes.buffer);
  const elements = new Elements(count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const [value, after] = varint(bytes, at, bytes.length, inside.start + at, bad);
    at = after;
    // Stored as the type's own bits, negative numbers included: an array takes the low bits of what it is given.
    if (elements instanceof BigInt64Array || elements instanceof BigUint64Array) elements[i] = value;
    else elements[i] = Number(BigInt.asUintN(32, value));
  }
  if (at !== bytes.length) throw bad(`${label} has more elements than its shape [${tensor.shape}]`);
  return elements;
}
