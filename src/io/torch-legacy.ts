/** The format of torch.save before PyTorch 1.6: five pickles, then every storage as a count of elements and its bytes. */
import { S3aError } from '../errors.ts';
import { type ByteFile, openBytes } from './bytes.ts';
import { type PickleValue, unpickle } from './pickle.ts';
import { MAX_PICKLE, type TorchArchive } from './torch-archive.ts';
import { findTorchGlobal, type TorchStorage, torchStorage, torchWidth } from './torch-pickle.ts';

/** PROTO 2, then the magic number 0x1950a86a20f9469cfc6c as LONG1. */
const MAGIC = Buffer.from('80028a0a6cfc9c46f9206aa85019', 'hex');

/** Whether a file that starts with these bytes has the old format. */
export function isLegacy(head: Uint8Array): boolean {
  return head.length >= MAGIC.length && Buffer.compare(MAGIC, head.subarray(0, MAGIC.length)) === 0;
}

/**
 * Opens a file of the old format and checks that the storages follow the pickles as these say.
 *
 * Throws S3aError READ, PICKLE, and TORCH for a file that was cut short.
 */
export async function openLegacy(path: string): Promise<TorchArchive> {
  const file = await openBytes(path);
  try {
    const storages = new Map<string, TorchStorage>();
    const persistent = (id: PickleValue): TorchStorage | undefined => {
      const storage = torchStorage(id);
      const known = storage && storages.get(storage.key);
      if (storage && !known) storages.set(storage.key, storage);
      return known ?? storage;
    };
    const bytes = await file.read(0, Math.min(file.size, MAX_PICKLE));
    let end = 0;
    const next = (): PickleValue => {
      const read = unpickle(bytes, { path, find: findTorchGlobal(false), persistent }, end);
      end = read.end;
      return read.value;
    };
    const [, version, system, root, keys] = [next(), next(), next(), next(), next()];
    if (version !== 1001 || !(system instanceof Map) || system.get('little_endian') !== true || !Array.isArray(keys)) {
      throw new S3aError(
        'TORCH',
        `${path} has a version or byte order that is not known`,
        'Save it again with a newer PyTorch.',
      );
    }
    const starts = await findStorages(path, file, end, keys, storages);
    return {
      root,
      file,
      size: key => {
        const storage = starts.has(key) ? storages.get(key) : undefined;
        return storage && storage.numel * torchWidth(storage.dtype);
      },
      start: async key => starts.get(key) ?? Number.NaN,
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Where the bytes of each storage start; they lie in the order of `keys`. */
async function findStorages(
  path: string,
  file: ByteFile,
  start: number,
  keys: readonly PickleValue[],
  storages: ReadonlyMap<string, TorchStorage>,
): Promise<Map<string, number>> {
  const starts = new Map<string, number>();
  let at = start;
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage || starts.has(storage.key) || at + 8 > file.size) {
      throw new S3aError(
        'TORCH',
        `${path} does not hold the storages that it lists`,
        'Download or export the file again.',
      );
    }
    const numel = new DataView((await file.read(at, 8)).buffer).getBigInt64(0, true);
    const bytes = storage.numel * torchWidth(storage.dtype);
    if (numel !== BigInt(storage.numel) || !(at + 8 + bytes <= file.size)) {
      throw new S3aError(
        'TORCH',
        `${path} was cut short or damaged: a storage of ${storage.numel} elements is not whole at byte ${at}`,
        'Download or export the file again.',
      );
    }
    starts.set(storage.key, at + 8);
    at += 8 + bytes;
  }
  return starts;
}
