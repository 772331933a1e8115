/** The folder of an export: whether it may be made, and how it comes to be there whole or not at all. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { S3aError } from '../errors.ts';
import { writeError } from '../io/atomic-write.ts';

/** A file of a folder, by its path relative to it. */
export interface ExportedFile {
  name: string;
  bytes: number;
}

/** Throws S3aError EXPORT when a folder is not free: a file, another export unless `overwrite`, or something else than a model. */
export async function checkOut(out: string, overwrite: boolean): Promise<void> {
  // An empty path would be the folder that we are in, and everything in it.
  if (out === '') throw new S3aError('EXPORT', 'the folder of the export has no name', 'Name it with --out.');
  const found = await stat(out).catch(() => undefined);
  if (!found) return;
  if (!found.isDirectory()) throw new S3aError('EXPORT', `${out} is a file`, 'Choose another --out.');
  const names = await readdir(out);
  if (names.length === 0) return;
  if (!overwrite) {
    throw new S3aError('EXPORT', `${out} is there already`, 'Replace it with --overwrite, or choose another --out.');
  }
  // Replacing removes all that is in the folder, so it must be one of these.
  const isModel =
    ['config.json', 'model.safetensors'].every(name => names.includes(name)) &&
    !['manifest.json', '.git'].some(name => names.includes(name));
  if (!isModel) throw new S3aError('EXPORT', `${out} holds something else than a model`, 'Choose another --out.');
}

/** Throws S3aError EXPORT when the disk of a folder has not so many bytes left; a disk that does not say counts as large. */
export async function checkSpace(out: string, needed: number): Promise<void> {
  let folder = resolve(out);
  while (!existsSync(folder)) folder = dirname(folder);
  const space = await statfs(folder).catch(() => undefined);
  const free = space ? space.bavail * space.bsize : Number.POSITIVE_INFINITY;
  if (free >= needed) return;
  const [has, wants] = [free, needed].map(bytes => `${Math.ceil(bytes / 1e6)} MB`);
  throw new S3aError(
    'EXPORT',
    `the disk of ${out} has ${has} left, and the files take ${wants}`,
    'Write fewer with --onnx.',
  );
}

/**
 * Makes a folder beside `out` and puts it in its place when it is whole.
 * @returns its files
 * @throws S3aError WRITE, as `checkOut`, and whatever `fill` throws
 */
export async function replaceFolder(
  out: string,
  overwrite: boolean,
  fill: (folder: string) => Promise<void>,
): Promise<ExportedFile[]> {
  await checkOut(out, overwrite);
  const target = resolve(out);
  const beside = (what: string): string => join(dirname(target), `.${basename(target)}.${what}-${process.pid}`);
  const [fresh, old] = [beside('new'), beside('old')];
  try {
    await mkdir(fresh, { recursive: true });
    await removeLeftovers(target);
    await fill(fresh);
    const files = await listFiles(fresh);
    // Filling takes minutes, in which somebody may have put something there.
    await checkOut(out, overwrite);
    if (existsSync(target)) await rename(target, old);
    await rename(fresh, target);
    return files;
  } catch (error) {
    // Nothing that was there is lost when the last step fails.
    if (existsSync(old) && !existsSync(target)) await rename(old, target).catch(() => {});
    throw error instanceof Error && 'syscall' in error ? writeError(out, error) : error;
  } finally {
    await rm(fresh, { recursive: true, force: true });
    if (existsSync(target)) await rm(old, { recursive: true, force: true });
  }
}

/** Removes unfinished folders of exports that were killed. */
async function removeLeftovers(target: string): Promise<void> {
  const start = `.${basename(target)}.new-`;
  for (const name of await readdir(dirname(target))) {
    const pid = Number(name.slice(start.length));
    if (!name.startsWith(start) || !Number.isInteger(pid) || pid < 1 || isAlive(pid)) continue;
    await rm(join(dirname(target), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function listFiles(folder: string): Promise<ExportedFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name));
  return Promise.all(
    files.sort().map(async path => ({
      name: relative(folder, path).replaceAll('\\', '/'),
      bytes: (await stat(path)).size,
    })),
  );
}
