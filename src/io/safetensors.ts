/** The safetensors format (github.com/huggingface/safetensors): a JSON header, then the tensors' bytes without holes. */
import type { Hash } from 'node:crypto';
import { messageOf, S3aError } from '../errors.ts';
import { writeAtomic } from './atomic-write.ts';
import { type ByteFile, openBytes } from './bytes.ts';
import { float32ToFloat16 } from './float16.ts';
import { refusePointer, type TensorFile } from './tensor-file.ts';
import { isFloatDtype, readWidened } from './widen.ts';

/** Element types that are read; F16 and BF16 come as their bits. In the order by which the reference writer sorts. */
const ARRAYS = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  F8_E5M2: Uint8Array,
  F8_E4M3: Uint8Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
};

export type SafetensorsDtype = keyof typeof ARRAYS;
export type SafetensorsArray = InstanceType<(typeof ARRAYS)[SafetensorsDtype]>;

export interface TensorInfo {
  dtype: SafetensorsDtype;
  shape: number[];
}

/** An open file; tensors are read from the disk when they are asked for. */
export interface SafetensorsFile extends TensorFile {
  /** Names in the order of their bytes. */
  readonly names: string[];
  /** The header's `__metadata__`. */
  readonly metadata: Record<string, string>;
  has(name: string): boolean;
  /** Type and shape; throws S3aError SAFETENSORS for a name that is not in the file. */
  info(name: string): TensorInfo;
  /** The elements in C order, F16 and BF16 as bits; throws as `info`, and READ. */
  read(name: string): Promise<SafetensorsArray>;
  /** The elements of an F32, F64, F16 or BF16 tensor as float32; throws as `read`, and SAFETENSORS for other types. */
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}

interface Entry extends TensorInfo {
  begin: number;
  end: number;
}

// The reference reader's limit.
const MAX_HEADER = 100_000_000;

/**
 * Opens a safetensors file and checks its whole header: sizes against the file, offsets for range, overlap and holes, and each
 * tensor's bytes against its type and shape. Nothing larger than the file is ever allocated.
 *
 * Throws S3aError READ when it cannot be read, SAFETENSORS for what is wrong with its content.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await openBytes(path);
  try {
    const { entries, metadata, dataStart } = await readHeader(path, file);
    return opened(path, file, entries, metadata, dataStart);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function opened(
  path: string,
  file: ByteFile,
  entries: Map<string, Entry>,
  metadata: Record<string, string>,
  dataStart: number,
): SafetensorsFile {
  const entryOf = (name: string): Entry => {
    const entry = entries.get(name);
    if (!entry) throw new S3aError('SAFETENSORS', `${path} has no tensor named ${JSON.stringify(name)}`);
    return entry;
  };
  const read = async (name: string): Promise<SafetensorsArray> => {
    const { dtype, begin, end } = entryOf(name);
    const { buffer } = await file.read(dataStart + begin, end - begin);
    return new ARRAYS[dtype](buffer);
  };
  return {
    path,
    names: [...entries.keys()],
    metadata,
    has: name => entries.has(name),
    info: name => {
      const { dtype, shape } = entryOf(name);
      return { dtype, shape: [...shape] };
    },
    read,
    readFloat32: async name => {
      const { dtype, shape, begin } = entryOf(name);
      if (isFloatDtype(dtype)) return readWidened(file, dataStart + begin, dtype, { shape });
      throw new S3aError('SAFETENSORS', `${path}: tensor ${JSON.stringify(name)} is ${dtype}, not a float type`);
    },
    close: file.close,
  };
}

interface Header {
  entries: Map<string, Entry>;
  metadata: Record<string, string>;
  dataStart: number;
}

async function readHeader(path: string, file: ByteFile): Promise<Header> {
  const bad = (what: string): S3aError =>
    new S3aError(
      'SAFETENSORS',
      `${path} is not a valid safetensors file: ${what}`,
      'Download or export the file again.',
    );
  if (file.size < 8) throw bad(`${file.size} bytes are too few`);
  refusePointer(path, await file.read(0, Math.min(file.size, 64)));
  const length = new DataView((await file.read(0, 8)).buffer).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER)) throw bad(`a header of ${length} bytes is over the limit of ${MAX_HEADER}`);
  if (length > BigInt(file.size - 8))
    throw bad(`a header of ${length} bytes in a file of ${file.size}; it was cut short`);
  const dataStart = 8 + Number(length);
  const header = parseHeader(await file.read(8, Number(length)), bad);
  let metadata: Record<string, string> = {};
  const entries: [string, Entry][] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = checkMetadata(value, bad);
    else entries.push([name, checkEntry(name, value, file.size - dataStart, bad)]);
  }
  entries.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of entries) {
    if (begin < at) throw bad(`tensor ${JSON.stringify(name)} overlaps the one before it at byte ${begin}`);
    if (begin > at) throw bad(`bytes ${at} to ${begin} belong to no tensor`);
    at = end;
  }
  if (at !== file.size - dataStart)
    throw bad(`its tensors take ${at} bytes but ${file.size - dataStart} follow the header`);
  return { entries: new Map(entries), metadata, dataStart };
}

type Bad = (what: string) => S3aError;

function parseHeader(bytes: Uint8Array, bad: Bad): object {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw bad(`the header is not JSON (${messageOf(error).slice(0, 200)})`);
  }
  if (!isObject(header)) throw bad('the header is not a JSON object');
  return header;
}

function checkMetadata(value: unknown, bad: Bad): Record<string, string> {
  if (!isObject(value) || Object.values(value).some(text => typeof text !== 'string')) {
    throw bad('__metadata__ is not an object of strings');
  }
  return value as Record<string, string>;
}

function checkEntry(name: string, value: unknown, dataSize: number, bad: Bad): Entry {
  const label = `tensor ${JSON.stringify(name.slice(0, 200))}`;
  if (!isObject(value)) throw bad(`${label} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(ARRAYS, dtype)) {
    throw bad(`${label} has the unknown dtype ${String(JSON.stringify(dtype)).slice(0, 40)}`);
  }
  if (!isCounts(shape)) throw bad(`${label} has a shape that is not a list of counts`);
  if (!isCounts(offsets) || offsets.length !== 2) throw bad(`${label} has data_offsets that are not two counts`);
  const [begin, end] = offsets;
  if (begin > end || end > dataSize)
    throw bad(`${label} has data_offsets [${begin}, ${end}] outside the ${dataSize} bytes of data`);
  const width = ARRAYS[dtype as SafetensorsDtype].BYTES_PER_ELEMENT;
  const bytes = shape.reduce((product, size) => product * size, width);
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin) {
    throw bad(
      `${label}, ${dtype} of shape [${String(shape).slice(0, 80)}], takes ${bytes} bytes but has ${end - begin}`,
    );
  }
  return { dtype: dtype as SafetensorsDtype, shape, begin, end };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(n => Number.isSafeInteger(n) && n >= 0);
}

/**
 * A tensor to write; F16 takes float32 values (rounded to nearest even) or ready bits. Data of F32 may be a function, which
 * is called when the tensor's turn comes, so that not all need to be there at once.
 */
export type TensorToWrite = { shape: readonly number[] } & (
  | { dtype: 'F32'; data: Float32Array | (() => Promise<Float32Array>) }
  | { dtype: 'F16'; data: Float32Array | Uint16Array }
  | { dtype: 'I64'; data: BigInt64Array }
  | { dtype: 'I32'; data: Int32Array }
  | { dtype: 'U8'; data: Uint8Array }
);

export type TensorsToWrite = ReadonlyMap<string, TensorToWrite> | Readonly<Record<string, TensorToWrite>>;

/**
 * Writes a safetensors file atomically. The bytes depend on the tensors and the metadata alone and are those of the reference writer:
 * tensors by descending type, then by name; the header padded with spaces to 8 bytes.
 *
 * @param hash gets all bytes as they are written
 *
 * Throws S3aError WRITE, and SAFETENSORS when a tensor's elements do not fill its shape.
 */
export async function writeSafetensors(
  path: string,
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
  hash?: Hash,
): Promise<void> {
  const order = Object.keys(ARRAYS);
  const named: [string, TensorToWrite][] = [...(isMap(tensors) ? tensors : Object.entries(tensors))];
  const sorted = named.sort(
    ([nameA, a], [nameB, b]) =>
      order.indexOf(b.dtype) - order.indexOf(a.dtype) || Buffer.compare(Buffer.from(nameA), Buffer.from(nameB)),
  );
  // A list of members, not an object: an object would move names such as "0" to its front.
  const members = [`"__metadata__":${JSON.stringify(metadata)}`];
  let at = 0;
  for (const [name, { dtype, shape, data }] of sorted) {
    const size = shape.reduce((product, n) => product * n, 1);
    if (typeof data !== 'function') requireSize(path, name, shape, data.length);
    if (name === '__metadata__') throw new S3aError('SAFETENSORS', `cannot write a tensor ${name} to ${path}`);
    const end = at + size * ARRAYS[dtype].BYTES_PER_ELEMENT;
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [at, end] })}`);
    at = end;
  }
  const text = Buffer.from(`{${members.join(',')}}`);
  const header = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  text.copy(header, 8);
  await writeAtomic(path, async write => {
    hash?.update(header);
    await write(header);
    for (const [name, { dtype, shape, data }] of sorted) {
      const values = typeof data === 'function' ? await data() : data;
      requireSize(path, name, shape, values.length);
      const stored = dtype === 'F16' && values instanceof Float32Array ? float32ToFloat16(values) : values;
      hash?.update(stored);
      await write(stored);
    }
  });
}

function requireSize(path: string, name: string, shape: readonly number[], length: number): void {
  if (shape.reduce((product, n) => product * n, 1) === length) return;
  throw new S3aError(
    'SAFETENSORS',
    `cannot write tensor ${name} of shape [${shape}] from ${length} elements to ${path}`,
  );
}

function isMap(tensors: TensorsToWrite): tensors is ReadonlyMap<string, TensorToWrite> {
  return tensors instanceof Map;
}
