/** Files that are either whole or absent: written under a temporary name, synced, then renamed. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf, S3aError } from '../errors.ts';

/** What can be written: text (as UTF-8) or the bytes of any view. */
export type Chunk = string | ArrayBufferView;

/** A file under construction; exactly one of `commit` and `abort` ends it. */
export interface AtomicFile {
  /** Appends all of the chunk. Throws S3aError WRITE after removing the temporary file. */
  write(chunk: Chunk): Promise<void>;
  /** Syncs, closes and renames to the final path. Throws S3aError WRITE after removing the temporary file. */
  commit(): Promise<void>;
  /** Closes and removes the temporary file; safe to call at any time, also after `commit`. */
  abort(): Promise<void>;
}

/** What names of files begin with that are not whole yet. */
export const TEMPORARY = '.tmp-';

// fs.write takes at most 2^31 − 1 bytes at once.
const MAX_WRITE = 1 << 28;

const CAUSES: Record<string, [cause: string, hint: string]> = {
  ENOSPC: ['the disk is full', 'Free some space or choose another folder.'],
  EDQUOT: ['the disk quota is used up', 'Free some space or choose another folder.'],
  EFBIG: ['the file would be larger than the allowed file size', 'Raise the limit (ulimit -f) or choose another disk.'],
  EACCES: ['permission denied', 'Choose a folder that you may write to.'],
  EPERM: ['operation not permitted', 'Choose a folder that you may write to.'],
  EROFS: ['the file system is read-only', 'Choose a folder that you may write to.'],
  EISDIR: ['a folder of that name is in the way', 'Remove it or choose another name.'],
  ENOENT: ['nothing can be made there', 'Choose another folder.'],
  ENOTDIR: ['a part of the path is a file, not a folder', 'Choose another folder.'],
  EEXIST: ['a file is where a folder is needed', 'Choose another folder.'],
  ENAMETOOLONG: ['the name is too long', 'Choose a shorter name.'],
  EMFILE: ['too many files are open', 'Raise the limit (ulimit -n).'],
};

/** The one clear S3aError (code WRITE) for a failure to write `path`; an S3aError passes through unchanged. */
export function writeError(path: string, error: unknown): S3aError {
  if (error instanceof S3aError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code ?? '';
  const [cause, hint] = CAUSES[code] ?? [messageOf(error), 'Check the folder and its free space.'];
  return new S3aError('WRITE', `cannot write ${path}: ${cause}`, hint, { cause: error });
}

/** Whether a file name is that of an unfinished write, left over by a process that was killed. */
export function isTemporary(name: string): boolean {
  return name.startsWith(TEMPORARY);
}

/** Removes the leftovers of killed writes directly in `folder`; the caller must be its only writer. Returns their number. */
export async function removeTemporaries(folder: string): Promise<number> {
  const names = (await readdir(folder)).filter(isTemporary);
  await Promise.all(names.map(name => rm(join(folder, name), { force: true })));
  return names.length;
}

/**
 * Makes a folder, and those above it that are missing. Node's own recursive mkdir says that a read-only disk is missing, and does
 * not return at all where the system refuses new folders by ENOENT, as /proc does.
 *
 * Throws S3aError WRITE.
 */
export async function makeFolder(folder: string): Promise<void> {
  const error = await failureOf(folder);
  if (!error) return;
  const above = dirname(folder);
  if (error.code !== 'ENOENT' || above === folder) throw writeError(folder, error);
  // Another process may be making the same folders, so what is there by now is no reason to give up.
  if (!(await isFolder(above))) await makeFolder(above);
  const again = await failureOf(folder);
  if (again) throw writeError(folder, again);
}

/** Makes one folder; why it cannot be made, undefined when it is there. */
async function failureOf(folder: string): Promise<NodeJS.ErrnoException | undefined> {
  try {
    await mkdir(folder);
    return undefined;
  } catch (error) {
    return (await isFolder(folder)) ? undefined : (error as NodeJS.ErrnoException);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** Writes all bytes of `chunk` at the position of `handle`; throws what the system throws (ENOSPC, EFBIG, …). */
export async function writeFully(handle: FileHandle, chunk: Chunk): Promise<void> {
  const bytes = bytesOf(chunk);
  // A write may be short (signals, a nearly full disk); the next one then reports the cause.
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(bytes.length - at, MAX_WRITE));
    at += bytesWritten;
  }
}

/**
 * Starts a file that appears at `path` only when it is whole; missing folders are made.
 *
 * Throws S3aError WRITE with the path and the cause.
 */
export async function openAtomic(path: string): Promise<AtomicFile> {
  const folder = dirname(path);
  const temporary = join(folder, `${TEMPORARY}${process.pid}-${randomBytes(6).toString('hex')}`);
  let handle: FileHandle;
  try {
    await makeFolder(folder);
    handle = await open(temporary, 'wx');
  } catch (error) {
    throw writeError(path, error);
  }
  let ended = false;
  const abort = async (): Promise<void> => {
    if (ended) return;
    ended = true;
    await handle.close().catch(() => {});
    await rm(temporary, { force: true }).catch(() => {});
  };
  const guarded = async (work: () => Promise<void>): Promise<void> => {
    if (ended) throw new S3aError('WRITE', `cannot write ${path}: it was already finished or given up`);
    try {
      await work();
    } catch (error) {
      await abort();
      throw writeError(path, error);
    }
  };
  return {
    write: chunk => guarded(() => writeFully(handle, chunk)),
    commit: () =>
      guarded(async () => {
        await handle.sync();
        await handle.close();
        await rename(temporary, path);
        ended = true;
        await syncFolder(folder);
      }),
    abort,
  };
}

/**
 * Writes a whole file, or what `data` produces through the `write` it is given; `path` then holds the old or the new content, never
 * a mixture.
 *
 * Throws S3aError WRITE with path and cause, and whatever `data` throws; the temporary file is removed in both cases.
 */
export async function writeAtomic(
  path: string,
  data: Chunk | ((write: (chunk: Chunk) => Promise<void>) => Promise<void>),
): Promise<void> {
  const file = await openAtomic(path);
  try {
    if (typeof data === 'function') await data(file.write);
    else await file.write(data);
    await file.commit();
  } finally {
    await file.abort();
  }
}

function bytesOf(chunk: Chunk): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk, 'utf8');
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

async function syncFolder(folder: string): Promise<void> {
  // Makes the rename itself durable; Windows cannot open a folder, and the file is whole there all the same.
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close().catch(() => {});
}
