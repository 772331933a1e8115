/** The .npy format of numpy, versions 1 and 2: C-ordered arrays, read whole or by rows, written whole or by appending rows. */
import { S3aError } from '../errors.ts';
import { openAtomic } from './atomic-write.ts';
import { type ByteFile, openBytes } from './bytes.ts';
import { float16ToFloat32, float32ToFloat16 } from './float16.ts';

/** Element types; '<f2' comes as its bits. */
const ARRAYS = {
  '<f4': Float32Array,
  '<f2': Uint16Array,
  '<i4': Int32Array,
  '<i8': BigInt64Array,
  '|u1': Uint8Array,
};

export type NpyDtype = keyof typeof ARRAYS;
export type NpyArray = InstanceType<(typeof ARRAYS)[NpyDtype]>;
/** Elements to write, in any kind of memory. */
export type NpyElements = Float32Array | Uint16Array | Int32Array | BigInt64Array | Uint8Array;

/** An open .npy file; elements are read when they are asked for. */
export interface NpyFile {
  readonly dtype: NpyDtype;
  readonly shape: number[];
  /** All elements in C order, '<f2' as bits; throws S3aError READ. */
  read(): Promise<NpyArray>;
  /** Rows [start, end) of the first axis in C order, '<f2' as bits; throws S3aError READ, and NPY for rows it has not. */
  readRows(start: number, end: number): Promise<NpyArray>;
  /** As `readRows` (all rows by default), '<f4' and '<f2' as float32; throws S3aError NPY for other types. */
  readFloat32(start?: number, end?: number): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** A .npy file under construction. */
export interface NpyWriter {
  /** Appends whole rows; float32 values are accepted for '<f2' too. Throws S3aError NPY or WRITE, and gives the file up. */
  append(rows: NpyElements): Promise<void>;
  /** Makes the file appear; throws S3aError NPY when rows are missing. */
  close(): Promise<void>;
  /** Gives the file up; does nothing after `close`. */
  abort(): Promise<void>;
}

// numpy's own limit is 10,000 unless told otherwise; a header of plain types never comes near.
const MAX_HEADER = 1 << 16;

/**
 * Opens a .npy file and checks its header against the file's size before anything is allocated.
 *
 * Throws S3aError READ when it cannot be read, NPY for what is wrong with its content.
 */
export async function openNpy(path: string): Promise<NpyFile> {
  const file = await openBytes(path);
  try {
    const { dtype, shape, dataStart } = await readHeader(path, file);
    const width = ARRAYS[dtype].BYTES_PER_ELEMENT;
    const rows = shape.length === 0 ? 1 : shape[0];
    const rowBytes = shape.slice(1).reduce((product, n) => product * n, width);
    const readRows = async (start: number, end: number): Promise<NpyArray> => {
      if (!(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= rows)) {
        throw new S3aError('NPY', `${path} has ${rows} rows, not rows ${start} to ${end}`);
      }
      const { buffer } = await file.read(dataStart + start * rowBytes, (end - start) * rowBytes);
      return new ARRAYS[dtype](buffer);
    };
    return {
      dtype,
      shape,
      read: () => readRows(0, rows),
      readRows,
      readFloat32: async (start = 0, end = rows) => {
        if (dtype === '<f4') return (await readRows(start, end)) as Float32Array<ArrayBuffer>;
        if (dtype === '<f2') return float16ToFloat32((await readRows(start, end)) as Uint16Array);
        throw new S3aError('NPY', `${path} holds ${dtype}, not a float type`);
      },
      close: file.close,
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A whole .npy file of floats as float32; throws as `openNpy`, and NPY for other types. */
export async function readNpyFloat32(path: string): Promise<{ shape: number[]; data: Float32Array<ArrayBuffer> }> {
  const file = await openNpy(path);
  try {
    return { shape: file.shape, data: await file.readFloat32() };
  } finally {
    await file.close();
  }
}

async function readHeader(
  path: string,
  file: ByteFile,
): Promise<{ dtype: NpyDtype; shape: number[]; dataStart: number }> {
  const bad = (what: string): S3aError => new S3aError('NPY', `${path} is not a .npy file that can be read: ${what}`);
  if (file.size < 10) throw bad(`${file.size} bytes are too few`);
  const start = Buffer.from((await file.read(0, Math.min(12, file.size))).buffer);
  if (start.toString('latin1', 0, 6) !== '\x93NUMPY') throw bad('it does not begin with \\x93NUMPY');
  const version = start[6];
  if (version !== 1 && version !== 2) throw bad(`its format version is ${version}, not 1 or 2`);
  if (version === 2 && file.size < 12) throw bad(`${file.size} bytes are too few`);
  const prefix = version === 1 ? 10 : 12;
  const length = version === 1 ? start.readUInt16LE(8) : start.readUInt32LE(8);
  if (length > MAX_HEADER) throw bad(`a header of ${length} bytes is over the limit of ${MAX_HEADER}`);
  if (prefix + length > file.size) throw bad(`a header of ${length} bytes in a file of ${file.size}; it was cut short`);
  const { descr, order, shape } = parseHeader(Buffer.from(await file.read(prefix, length)).toString('latin1'), bad);
  if (!Object.hasOwn(ARRAYS, descr)) throw bad(`its type ${descr} is none of ${Object.keys(ARRAYS).join(', ')}`);
  if (order !== 'False') throw bad('it is in Fortran order; write it with numpy.ascontiguousarray');
  const dtype = descr as NpyDtype;
  const bytes = shape.reduce((product, n) => product * n, ARRAYS[dtype].BYTES_PER_ELEMENT);
  const have = file.size - prefix - length;
  // A product that passed through a number too large can come back through a zero, so every count is checked as well.
  if (!Number.isSafeInteger(bytes) || !shape.every(Number.isSafeInteger) || bytes !== have) {
    throw bad(`${dtype} of shape (${String(shape).slice(0, 80)}) takes ${bytes} bytes but ${have} follow the header`);
  }
  return { dtype, shape, dataStart: prefix + length };
}

/** Parses the header, a Python dictionary literal of exactly three keys in any order. */
function parseHeader(text: string, bad: (what: string) => S3aError): { descr: string; order: string; shape: number[] } {
  const body = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1];
  if (body === undefined) throw bad('the header is not a dictionary');
  const member = /\s*'(\w{1,20})'\s*:\s*('[^']{0,20}'|True|False|\([\d,\s]{0,2000}\))\s*(,\s*|$)/y;
  const values = new Map<string, string>();
  while (member.lastIndex < body.length) {
    const match = member.exec(body);
    if (!match || values.has(match[1])) throw bad('the header cannot be understood');
    values.set(match[1], match[2]);
  }
  const descr = /^'(.*)'$/.exec(values.get('descr') ?? '')?.[1];
  const order = /^(True|False)$/.exec(values.get('fortran_order') ?? '')?.[1];
  const shape = /^\(\s*((\d+\s*,\s*)*(\d+\s*)?)\)$/.exec(values.get('shape') ?? '')?.[1];
  if (values.size !== 3 || descr === undefined || order === undefined || shape === undefined) {
    throw bad('the header does not have exactly descr, fortran_order and shape');
  }
  const sizes = shape.split(',').filter(part => part.trim() !== '');
  return { descr, order, shape: sizes.map(Number) };
}

/**
 * Starts a .npy file of known shape whose rows are appended as they come; it appears at `path` on `close`.
 *
 * Throws S3aError WRITE.
 */
export async function createNpyWriter(path: string, dtype: NpyDtype, shape: readonly number[]): Promise<NpyWriter> {
  const total = shape.reduce((product, n) => product * n, 1);
  const row = shape.slice(1).reduce((product, n) => product * n, 1);
  const file = await openAtomic(path);
  await file.write(npyHeader(dtype, shape));
  let written = 0;
  const giveUp = async (what: string): Promise<never> => {
    await file.abort();
    throw new S3aError('NPY', `${path}: ${what}`);
  };
  return {
    append: async rows => {
      const data = dtype === '<f2' && rows instanceof Float32Array ? float32ToFloat16(rows) : rows;
      if (!(data instanceof ARRAYS[dtype])) return giveUp(`${data.constructor.name} does not hold ${dtype}`);
      if (row > 0 && data.length % row !== 0) return giveUp(`${data.length} elements are not whole rows of ${row}`);
      if (written + data.length > total) return giveUp(`more elements than the shape (${shape}) has`);
      written += data.length;
      await file.write(data);
    },
    close: async () => {
      if (written !== total) return giveUp(`${written} elements were written, but the shape (${shape}) has ${total}`);
      await file.commit();
    },
    abort: file.abort,
  };
}

/** Writes a whole .npy file atomically, byte for byte as numpy.save does; throws S3aError WRITE and NPY. */
export async function writeNpy(
  path: string,
  dtype: NpyDtype,
  shape: readonly number[],
  data: NpyElements,
): Promise<void> {
  const writer = await createNpyWriter(path, dtype, shape);
  try {
    await writer.append(data);
    await writer.close();
  } finally {
    await writer.abort();
  }
}

function npyHeader(dtype: NpyDtype, shape: readonly number[]): Buffer {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  // numpy leaves room for the first axis to grow to 21 digits, then pads to a multiple of 64 bytes with its newline.
  const room = shape.length > 0 ? ' '.repeat(21 - String(shape[0]).length) : '';
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${tuple}, }${room}`;
  const padding = 64 - ((10 + text.length + 1) % 64);
  const header = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${text}${' '.repeat(padding)}\n`, 'latin1');
  header.writeUInt16LE(header.length - 10, 8);
  return header;
}
