/** A PyTorch file in either of its two formats: an unpickled object, and where the storages lie that it speaks of. */
import type { ByteFile } from './bytes.ts';
import type { PickleValue } from './pickle.ts';

/** A pickle of PyTorch holds no weights; one of a checkpoint with its optimizer has about 1 MB. */
export const MAX_PICKLE = 1 << 25;

export interface TorchArchive {
  readonly root: PickleValue;
  readonly file: ByteFile;
  /** Bytes of the storage with this key, undefined when the file has none that can be read in part. */
  size(key: string): number | undefined;
  /** Where in the file the bytes of a storage start. */
  start(key: string): Promise<number>;
}
