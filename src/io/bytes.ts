/** Reading of exact byte ranges of files, with errors that name the file. */
import { type FileHandle, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { S3aError, whyOf } from '../errors.ts';

// fs.read takes at most 2^31 − 1 bytes at once.
const MAX_READ = 1 << 28;

/** A regular file that is open for reading at offsets. */
export interface ByteFile {
  /** Size in bytes when it was opened. */
  readonly size: number;
  /** Bytes [start, start + length) in their own, aligned buffer; throws S3aError READ, also when the file ends before. */
  read(start: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Opens a regular file. Throws S3aError READ when there is none. */
export async function openBytes(path: string): Promise<ByteFile> {
  if (endianness() !== 'LE')
    throw new S3aError('READ', 'this machine is big-endian; the file formats are little-endian');
  const failed = (error: unknown): S3aError =>
    error instanceof S3aError
      ? error
      : new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, 'Check the path and its permissions.', {
          cause: error,
        });
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const stat = await handle.stat();
    if (!stat.isFile()) throw new S3aError('READ', `cannot read ${path}: it is not a regular file`);
    return { size: stat.size, read: reader(path, handle, stat.size, failed), close: handle.close.bind(handle) };
  } catch (error) {
    await handle?.close();
    throw failed(error);
  }
}

function reader(
  path: string,
  handle: FileHandle,
  size: number,
  failed: (error: unknown) => S3aError,
): ByteFile['read'] {
  return async (start, length) => {
    if (!(start >= 0 && length >= 0 && start + length <= size)) {
      throw new S3aError(
        'READ',
        `cannot read ${path}: bytes ${start} to ${start + length} lie outside its ${size} bytes`,
      );
    }
    const bytes = new Uint8Array(length);
    try {
      for (let at = 0; at < length; ) {
        const { bytesRead } = await handle.read(bytes, at, Math.min(length - at, MAX_READ), start + at);
        if (bytesRead === 0) throw new S3aError('READ', `cannot read ${path}: it became shorter while it was read`);
        at += bytesRead;
      }
    } catch (error) {
      throw failed(error);
    }
    return bytes;
  };
}
