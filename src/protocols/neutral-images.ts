/** Images under names that say nothing: linked or written once into the cache folder, whole or not at all. */
import { randomBytes } from 'node:crypto';
import { copyFile, link, mkdir, readdir, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { messageOf, S3aError } from '../errors.ts';
import { writeError } from '../io/atomic-write.ts';
import { cacheFolder } from '../io/cache-folder.ts';
import { hashBytes, hashJson } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { random } from '../random.ts';
import { countOf, type ImageSource } from './image-source.ts';

/** Images of a split as every stage sees them. */
export interface NeutralImages {
  /** Number of images. */
  readonly count: number;
  /** Relative names in the order of `listImages`; they and their order say nothing about the classes. */
  readonly files: readonly string[];
  /** Links or writes the images unless that is done already, and gives the folder that `files` are relative to. */
  materialise(options?: MaterialiseOptions): Promise<string>;
}

export interface MaterialiseOptions {
  /** The folder of the cache; default `protocols` in s3a's own. */
  cache?: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

/** Version of the layout below; another one makes the images anew. */
const LAYOUT = 1;
/** Directories with more entries become slow on some disks. */
const FOLDER_SIZE = 10_000;
/** Says that a folder is whole, and of which bytes. */
const INDEX = 'index.json';

interface Index {
  key: string;
  sizes: number[];
}

/**
 * The images of `source` in a random order that depends on `name` alone: `order[i]` is the place in the source of `images.files[i]`.
 */
export function neutralImages(name: string, source: ImageSource): { images: NeutralImages; order: Int32Array } {
  const count = countOf(source);
  const order = random(0, 'protocol', name).shuffle(Int32Array.from({ length: count }, (_, i) => i));
  const digits = Math.max(4, String(count).length);
  // One ending for all: decoders look at the bytes, and several endings could tell classes apart.
  const ending = source.kind === 'files' ? 'jpg' : 'png';
  const files = Array.from(order, (_, i) => {
    const folder = String(Math.floor(i / FOLDER_SIZE)).padStart(Math.max(1, digits - 4), '0');
    return `${folder}/${String(i).padStart(digits, '0')}.${ending}`;
  });
  const images = { count, files, materialise: (options = {}) => materialise(name, source, order, files, options) };
  return { images, order };
}

async function materialise(
  name: string,
  source: ImageSource,
  order: Int32Array,
  files: readonly string[],
  options: MaterialiseOptions,
): Promise<string> {
  const cache = options.cache ?? join(cacheFolder(), 'protocols');
  const key = await keyOf(name, source);
  // The name of the folder is a hash: that of a data set of dogs would tell that there are dogs.
  const target = join(cache, key.slice(0, 32));
  if (await isWhole(target, key, source, order, files)) return target;
  const temporary = join(cache, `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`);
  try {
    await removeLeftovers(cache);
    for (const folder of new Set(files.map(dirname))) await mkdir(join(temporary, folder), { recursive: true });
    const sizes =
      source.kind === 'files'
        ? await linkFiles(source, order, files, temporary, options)
        : await writeRecords(source, order, files, temporary, options);
    await writeFile(join(temporary, INDEX), JSON.stringify({ key, sizes } satisfies Index));
    await rm(target, { recursive: true, force: true });
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    // Another process may have been quicker.
    if (await isWhole(target, key, source, order, files)) return target;
    options.signal?.throwIfAborted();
    throw error instanceof S3aError ? error : writeError(target, error);
  }
  return target;
}

async function keyOf(name: string, source: ImageSource): Promise<string> {
  if (source.kind === 'files') {
    // By the list's bytes: a million names are slow to quote as JSON.
    return hashJson({ LAYOUT, name, root: await realpath(source.root), files: hashBytes(source.files.join('\n')) });
  }
  const archives = await Promise.all(
    source.archives.map(async path => {
      const { size, mtimeMs } = await stat(path);
      return [await realpath(path), size, mtimeMs];
    }),
  );
  return hashJson({ LAYOUT, name, id: source.id, count: source.count, archives });
}

/** Whether every image is there with the size it was written or linked with. */
async function isWhole(
  folder: string,
  key: string,
  source: ImageSource,
  order: Int32Array,
  files: readonly string[],
): Promise<boolean> {
  const index = (await readJson(join(folder, INDEX)).catch(() => undefined)) as Partial<Index> | undefined;
  const sizes = index?.sizes;
  if (index?.key !== key || !Array.isArray(sizes) || sizes.length !== files.length) return false;
  return everyFile(files, async (file, i) => {
    const size = await sizeOf(join(folder, file));
    return (
      size === sizes[i] &&
      (source.kind === 'records' || size === (await sizeOf(pathOf(source.root, source.files[order[i]]))))
    );
  });
}

async function linkFiles(
  { root, files: origins }: { root: string; files: readonly string[] },
  order: Int32Array,
  files: readonly string[],
  folder: string,
  { signal, onProgress }: MaterialiseOptions,
): Promise<number[]> {
  const sizes = new Array<number>(files.length);
  let done = 0;
  await everyFile(files, async (file, i) => {
    signal?.throwIfAborted();
    const origin = pathOf(root, origins[order[i]]);
    const size = await sizeOf(origin);
    if (size === undefined) {
      throw new S3aError('DATASET', `${origin} is listed, but cannot be read`, 'Unpack the data set again.');
    }
    sizes[i] = size;
    await linkOrCopy(origin, join(folder, file));
    if (++done % 1000 === 0 || done === files.length) onProgress?.(done, files.length);
    return true;
  });
  return sizes;
}

/** Links need a right on Windows that few have, and hard links the same disk. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  await symlink(from, to)
    .catch(() => link(from, to))
    .catch(() => copyFile(from, to));
}

async function writeRecords(
  source: Extract<ImageSource, { kind: 'records' }>,
  order: Int32Array,
  files: readonly string[],
  folder: string,
  { signal, onProgress }: MaterialiseOptions,
): Promise<number[]> {
  const places = new Int32Array(order.length);
  for (const [i, index] of order.entries()) places[index] = i;
  const sizes = new Array<number>(files.length).fill(-1);
  let done = 0;
  for await (const { index, image } of source.read()) {
    signal?.throwIfAborted();
    const place = places[index];
    if (place === undefined || sizes[place] >= 0) {
      throw new S3aError('DATASET', `image ${index} of ${source.count} comes twice, or is none of them`);
    }
    const bytes = image instanceof Uint8Array ? image : await pngOf(image);
    await writeFile(join(folder, files[place]), bytes);
    sizes[place] = bytes.length;
    if (++done % 1000 === 0 || done === files.length) onProgress?.(done, files.length);
  }
  if (done !== files.length) throw new S3aError('DATASET', `${done} of ${files.length} images were found`);
  return sizes;
}

async function pngOf({ data, width, height }: { data: Uint8Array; width: number; height: number }): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Whether `check` holds for every file; some are looked at at once, and the first that fails ends it. */
async function everyFile(
  files: readonly string[],
  check: (file: string, i: number) => Promise<boolean>,
): Promise<boolean> {
  const AT_ONCE = 64;
  for (let start = 0; start < files.length; start += AT_ONCE) {
    const part = files.slice(start, start + AT_ONCE).map((file, i) => check(file, start + i));
    const results = await Promise.allSettled(part);
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason;
      if (!result.value) return false;
    }
  }
  return true;
}

async function sizeOf(path: string): Promise<number | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info?.isFile() ? info.size : undefined;
}

function pathOf(root: string, file: string): string {
  return join(root, ...file.split('/'));
}

/** Removes what processes that are no more have left unfinished. */
async function removeLeftovers(cache: string): Promise<void> {
  for (const name of await readdir(cache).catch(() => [])) {
    const pid = Number(/^\.tmp-(\d+)-/.exec(name)?.[1]);
    if (pid > 0 && !isRunning(pid)) await rm(join(cache, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !messageOf(error).includes('ESRCH');
  }
}
