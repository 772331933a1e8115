/** The owners' files of CIFAR-100: the pickles of Python 2 (`cifar-100-python`) and the binary version (`cifar-100-binary`). */
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { openBytes } from '../io/bytes.ts';
import { isPickleObject, type PickleGlobal, type PickleObject, unpickle } from '../io/pickle.ts';
import { bytesOf, linesOf } from './data-folder.ts';
import type { ImageRecord, RecordSource } from './image-source.ts';
import type { RawSplit } from './protocol.ts';

const SIDE = 32;
const PLANE = SIDE * SIDE;
const PIXELS = 3 * PLANE;
/** A coarse label, then the fine one, then the planes of red, green and blue. */
const RECORD = 2 + PIXELS;
const MAX_FILE = 2 ** 30;
const CHUNK = 1000;

/** A split of the binary version. Throws S3aError DATASET for a file that is not made of whole records. */
export async function readBinary(path: string): Promise<RawSplit> {
  const file = await openBytes(path);
  try {
    if (file.size === 0 || file.size % RECORD !== 0 || file.size > MAX_FILE) {
      throw new S3aError(
        'DATASET',
        `${path} has ${file.size} bytes, which are no records of ${RECORD}`,
        'Unpack it again.',
      );
    }
    const count = file.size / RECORD;
    const labels = new Int32Array(count);
    for (let start = 0; start < count; start += CHUNK) {
      const bytes = await file.read(start * RECORD, Math.min(CHUNK, count - start) * RECORD);
      for (let i = 0; i * RECORD < bytes.length; i++) labels[start + i] = bytes[i * RECORD + 1];
    }
    return { source: sourceOf(path, count, () => binaryRecords(path, count)), labels };
  } finally {
    await file.close();
  }
}

async function* binaryRecords(path: string, count: number): AsyncGenerator<ImageRecord> {
  const file = await openBytes(path);
  try {
    for (let start = 0; start < count; start += CHUNK) {
      const bytes = await file.read(start * RECORD, Math.min(CHUNK, count - start) * RECORD);
      for (let i = 0; i * RECORD < bytes.length; i++) {
        yield { index: start + i, image: interleaved(bytes.subarray(i * RECORD + 2, (i + 1) * RECORD)) };
      }
    }
  } finally {
    await file.close();
  }
}

/** Names of the fine classes of the binary version, one a line. */
export function readBinaryNames(folder: string): Promise<string[]> {
  return linesOf(join(folder, 'fine_label_names.txt'));
}

/** A split of the Python version. Throws S3aError DATASET or PICKLE. */
export async function readPython(path: string): Promise<RawSplit> {
  const { data, fine_labels: fine } = await pickledDict(path);
  const labels = Array.isArray(fine) ? fine : [];
  const pixels = arrayBytes(data, path);
  if (
    labels.length === 0 ||
    pixels.length !== labels.length * PIXELS ||
    labels.some(label => typeof label !== 'number')
  ) {
    throw new S3aError('DATASET', `${path}: fine_labels and data do not belong together`, 'Unpack it again.');
  }
  const count = labels.length;
  return {
    source: sourceOf(path, count, () => pythonRecords(path, count)),
    labels: Int32Array.from(labels as number[]),
  };
}

/** Names of the fine classes of the Python version, from its file `meta`. */
export async function readPythonNames(folder: string): Promise<string[]> {
  const path = join(folder, 'meta');
  const { fine_label_names: names } = await pickledDict(path);
  if (Array.isArray(names) && names.length > 0 && names.every(name => typeof name === 'string')) return names;
  throw new S3aError('DATASET', `${path}: there are no fine_label_names`, 'Unpack it again.');
}

async function* pythonRecords(path: string, count: number): AsyncGenerator<ImageRecord> {
  const { data } = await pickledDict(path);
  const pixels = arrayBytes(data, path);
  for (let index = 0; index < count; index++) {
    yield { index, image: interleaved(pixels.subarray(index * PIXELS, (index + 1) * PIXELS)) };
  }
}

function sourceOf(path: string, count: number, read: () => AsyncIterable<ImageRecord>): RecordSource {
  return { kind: 'records', count, archives: [path], origin: index => `${path}:${index}`, read };
}

async function pickledDict(path: string): Promise<Record<string, unknown>> {
  const bytes = await bytesOf(path, MAX_FILE);
  const { value } = unpickle(bytes, { path, find: name => NUMPY[name], longStrings: 'bytes' });
  if (!(value instanceof Map)) throw new S3aError('DATASET', `${path} holds no dict`, 'Unpack it again.');
  return Object.fromEntries([...value].filter(([key]) => typeof key === 'string'));
}

const object = (className: string) => (): PickleObject => ({ kind: 'object', className, state: undefined });

/** What NumPy's arrays of bytes are pickled with; the second name is that of later versions. */
const NUMPY: Readonly<Record<string, PickleGlobal>> = Object.fromEntries(
  [
    { name: 'numpy.ndarray' },
    { name: 'numpy.dtype', call: object('dtype') },
    { name: 'numpy.core.multiarray._reconstruct', call: object('ndarray') },
    { name: 'numpy._core.multiarray._reconstruct', call: object('ndarray') },
  ].map(entry => [entry.name, { kind: 'global', ...entry }]),
);

/** The bytes of a pickled array [N, 3072] of uint8 in C order: its state is (version, shape, dtype, is Fortran's, bytes). */
function arrayBytes(value: unknown, path: string): Uint8Array {
  const state = isPickleObject(value) && value.className === 'ndarray' ? value.state : undefined;
  const [, shape, , fortran, bytes] = Array.isArray(state) ? (state as unknown[]) : [];
  const isMatrix = Array.isArray(shape) && shape.length === 2 && shape[1] === PIXELS;
  if (isMatrix && fortran === false && bytes instanceof Uint8Array && bytes.length === shape[0] * PIXELS) return bytes;
  throw new S3aError('DATASET', `${path}: data is no array of rows of ${PIXELS} bytes`, 'Unpack it again.');
}

/** Planes of red, green and blue as pixels. */
function interleaved(planes: Uint8Array): { data: Uint8Array; width: number; height: number } {
  const data = new Uint8Array(PIXELS);
  for (let i = 0; i < PLANE; i++) {
    for (let c = 0; c < 3; c++) data[i * 3 + c] = planes[c * PLANE + i];
  }
  return { data, width: SIDE, height: SIDE };
}
