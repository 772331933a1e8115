/** MATLAB files of level 5 (versions 5 to 7): numbers, texts, cells and structs; enough for the lists of data sets. */
import { inflateSync } from 'node:zlib';
import { messageOf, S3aError } from '../errors.ts';
import { bytesOf } from './data-folder.ts';

/**
 * A variable: numbers in column order, a text (rows of a character array one after the other), the cells in column order, or the
 * elements of a struct array by field.
 */
export type MatValue =
  | { kind: 'numbers'; values: Float64Array }
  | { kind: 'text'; text: string }
  | { kind: 'cells'; cells: MatValue[] }
  | { kind: 'structs'; fields: Record<string, MatValue>[] };

const MAX_FILE = 1 << 26;
const MAX_INFLATED = 1 << 28;
// Stanford Dogs' largest list has 41,160 cells; ImageNet's devkit 14,880 fields.
const MAX_VALUES = 5_000_000;
const MAX_DEPTH = 8;
const HEADER = 128;

/**
 * The variables of a .mat file whose names are asked for; others are skipped.
 * @throws S3aError DATASET for what is no such file, is damaged or too large, and for a variable that is not there
 */
export async function readMat(path: string, names: readonly string[]): Promise<Record<string, MatValue>> {
  const bytes = await bytesOf(path, MAX_FILE);
  const bad = (what: string): S3aError =>
    new S3aError('DATASET', `${path} is not a MATLAB file that can be read: ${what}`, 'Unpack the data set again.');
  if (bytes.length < HEADER) throw bad('it is too short');
  const order = String.fromCharCode(bytes[126], bytes[127]);
  if (order !== 'IM') {
    // MATLAB 7.3 writes HDF5 behind the same kind of header.
    throw bad(order === 'MI' ? 'it is big-endian' : 'it has no header of level 5');
  }
  if (bytes[125] !== 1) throw bad(`version ${bytes[125]} is not known; save it with -v7`);
  const found: Record<string, MatValue> = {};
  const budget = { values: MAX_VALUES };
  for (let at = HEADER; at + 8 <= bytes.length; ) {
    const outer = elementAt(bytes, at, bad);
    at = outer.end;
    let element = outer;
    if (outer.type === COMPRESSED) {
      let inflated: Uint8Array<ArrayBuffer>;
      try {
        inflated = new Uint8Array(inflateSync(outer.data, { maxOutputLength: MAX_INFLATED }));
      } catch (error) {
        throw bad(messageOf(error));
      }
      element = elementAt(inflated, 0, bad);
    }
    if (element.type !== MATRIX) continue;
    const { name, read } = matrixOf(element.data, budget, bad, 0);
    if (names.includes(name) && !Object.hasOwn(found, name)) found[name] = read();
  }
  const lost = names.find(name => !Object.hasOwn(found, name));
  if (lost !== undefined) throw bad(`it has no variable ${lost}`);
  return found;
}

/** The numbers of a variable or field. */
export function numbersOf(value: MatValue | undefined): Float64Array | undefined {
  return value?.kind === 'numbers' ? value.values : undefined;
}

/** The text of a variable, field or cell. */
export function matText(value: MatValue | undefined): string | undefined {
  return value?.kind === 'text' ? value.text : undefined;
}

type Bad = (what: string) => S3aError;

interface Element {
  type: number;
  data: Uint8Array<ArrayBuffer>;
  /** Where the next one starts. */
  end: number;
}

const MATRIX = 14;
const COMPRESSED = 15;
/** Bytes and reader of each numeric type of an element. */
const TYPES: Readonly<Record<number, [size: number, get: (view: DataView, at: number) => number]>> = {
  1: [1, (view, at) => view.getInt8(at)],
  2: [1, (view, at) => view.getUint8(at)],
  3: [2, (view, at) => view.getInt16(at, true)],
  4: [2, (view, at) => view.getUint16(at, true)],
  5: [4, (view, at) => view.getInt32(at, true)],
  6: [4, (view, at) => view.getUint32(at, true)],
  7: [4, (view, at) => view.getFloat32(at, true)],
  9: [8, (view, at) => view.getFloat64(at, true)],
  12: [8, (view, at) => Number(view.getBigInt64(at, true))],
  13: [8, (view, at) => Number(view.getBigUint64(at, true))],
  // Texts: UTF-8, UTF-16 and UTF-32 code units.
  16: [1, (view, at) => view.getUint8(at)],
  17: [2, (view, at) => view.getUint16(at, true)],
  18: [4, (view, at) => view.getUint32(at, true)],
};
const CLASS = { cell: 1, struct: 2, char: 4, firstNumeric: 6, lastNumeric: 15 } as const;

function elementAt(bytes: Uint8Array<ArrayBuffer>, at: number, bad: Bad): Element {
  if (at + 8 > bytes.length) throw bad('it breaks off');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = view.getUint32(at, true);
  // Elements of up to four bytes lie in their own tag.
  const small = first >>> 16;
  if (small > 0) {
    if (small > 4) throw bad(`a small element of ${small} bytes`);
    return { type: first & 0xffff, data: bytes.subarray(at + 4, at + 4 + small), end: at + 8 };
  }
  const size = view.getUint32(at + 4, true);
  const start = at + 8;
  if (size > bytes.length - start) throw bad('it breaks off');
  const padded = first === COMPRESSED ? size : Math.ceil(size / 8) * 8;
  return { type: first, data: bytes.subarray(start, start + size), end: Math.min(start + padded, bytes.length) };
}

/** The name of an array, and its value when that is wanted. */
function matrixOf(
  bytes: Uint8Array<ArrayBuffer>,
  budget: { values: number },
  bad: Bad,
  depth: number,
): { name: string; read: () => MatValue } {
  if (depth > MAX_DEPTH) throw bad('its values lie too deep within each other');
  const next = parts(bytes, bad);
  const flags = next();
  if (flags.type !== 6 || flags.data.length < 8) throw bad('an array has no flags');
  const kind = flags.data[0];
  const sizes = numbers(next(), bad);
  const count = sizes.reduce((product, size) => product * size, 1);
  if (!sizes.every(size => size >= 0)) throw bad('an array of a negative size');
  const name = latin(next().data);
  const spend = (): void => {
    budget.values -= count + 1;
    if (!(budget.values >= 0)) throw bad(`it has more than ${MAX_VALUES} values`);
  };
  const inner = (): MatValue => {
    if (--budget.values < 0) throw bad(`it has more than ${MAX_VALUES} values`);
    const element = next();
    if (element.type !== MATRIX) throw bad('an array lacks a part');
    // An empty element is an empty array.
    if (element.data.length === 0) return { kind: 'numbers', values: new Float64Array(0) };
    return matrixOf(element.data, budget, bad, depth + 1).read();
  };
  const read = (): MatValue => {
    spend();
    if (kind === CLASS.cell) return { kind: 'cells', cells: Array.from({ length: count }, inner) };
    if (kind === CLASS.struct) {
      const [width] = numbers(next(), bad);
      const names = next().data;
      if (!(width > 0)) throw bad('a struct without names of fields');
      const fields = Array.from({ length: names.length / width }, (_, i) =>
        latin(names.subarray(i * width, (i + 1) * width)),
      );
      return {
        kind: 'structs',
        fields: Array.from({ length: count }, () => Object.fromEntries(fields.map(field => [field, inner()]))),
      };
    }
    if (kind === CLASS.char) {
      const element = next();
      return {
        kind: 'text',
        text: element.type === 16 ? new TextDecoder().decode(element.data) : characters(element, bad),
      };
    }
    if (kind < CLASS.firstNumeric || kind > CLASS.lastNumeric) throw bad(`an array of the unknown class ${kind}`);
    const values = numbers(next(), bad);
    if (values.length !== count) throw bad(`an array of ${count} has ${values.length} numbers`);
    return { kind: 'numbers', values };
  };
  return { name, read };
}

/** The elements of an array, one after the other. */
function parts(bytes: Uint8Array<ArrayBuffer>, bad: Bad): () => Element {
  let at = 0;
  return () => {
    const element = elementAt(bytes, at, bad);
    at = element.end;
    return element;
  };
}

function numbers({ type, data }: Element, bad: Bad): Float64Array {
  const entry = TYPES[type];
  if (!entry || data.length % entry[0] !== 0) throw bad(`numbers of the unknown type ${type}`);
  if (data.length / entry[0] > MAX_VALUES) throw bad(`it has more than ${MAX_VALUES} values`);
  const [size, get] = entry;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Float64Array.from({ length: data.length / size }, (_, i) => get(view, i * size));
}

function characters(element: Element, bad: Bad): string {
  let text = '';
  for (const code of numbers(element, bad)) text += String.fromCharCode(code);
  return text;
}

/** Names, up to their first zero. */
function latin(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('latin1');
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}
