/** Looking into a data folder: what is there, what is not, and one clear line about it. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { messageOf, S3aError } from '../errors.ts';

/** Where files of a data set are looked for, for messages. */
export interface Wanted {
  /** Title of the data set. */
  title: string;
  /** Where to get it. */
  source: string;
}

const IMAGE = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif)$/i;
const ARCHIVE = /\.(tar|tar\.gz|tgz|tar\.bz2|zip|7z)$/i;
const MAX_TEXT = 1 << 28;
const MAX_ENTRIES = 20_000_000;

/** The first of the places below `folder` that exists, undefined when none does. */
export async function firstOf(folder: string, places: readonly string[]): Promise<string | undefined> {
  for (const place of places) {
    const path = join(folder, ...place.split('/'));
    if (await exists(path)) return path;
  }
  return undefined;
}

/**
 * As `firstOf`, for what the data set cannot do without.
 * @throws S3aError DATASET that says what was looked for, which archives lie there unpacked, and where to get it
 */
export async function need(folder: string, places: readonly string[], wanted: Wanted): Promise<string> {
  return (await firstOf(folder, places)) ?? absent(folder, places, wanted);
}

/** Says that none of `places` is in `folder`. */
export async function absent(folder: string, places: readonly string[], { title, source }: Wanted): Promise<never> {
  const names = await readdir(folder).catch(() => []);
  const packed = names.filter(name => ARCHIVE.test(name)).sort();
  const looked = places.length === 1 ? places[0] : `${places.slice(0, -1).join(', ')} or ${places.at(-1)}`;
  throw new S3aError(
    'DATASET',
    `${title} is not in ${folder}: there is no ${looked}`,
    packed.length > 0
      ? `Unpack ${packed.slice(0, 4).join(', ')} there first (tar -xf, or unzip).`
      : `Get it from ${source} and unpack it there.`,
  );
}

/** Whether something is at a path. */
export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** Whether a folder is at a path. */
export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** Names of the images right in a folder, hidden ones left out, in the order of their code units. Throws S3aError DATASET. */
export async function imagesIn(folder: string): Promise<string[]> {
  return (await namesIn(folder)).filter(name => IMAGE.test(name));
}

/** Names of what is in a folder, hidden ones left out, in the order of their code units. Throws S3aError DATASET. */
export async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw new S3aError('DATASET', `cannot read the folder ${folder}: ${messageOf(error)}`, 'Check its permissions.');
  });
  if (names.length > MAX_ENTRIES) throw new S3aError('DATASET', `${folder} has ${names.length} entries, too many`);
  return names.filter(name => !name.startsWith('.')).sort();
}

/** Names of the sub-folders of a folder, hidden ones left out, in the order of their code units. */
export async function foldersIn(folder: string): Promise<string[]> {
  const names = await namesIn(folder);
  const are = await Promise.all(names.map(name => isFolder(join(folder, name))));
  return names.filter((_, i) => are[i]);
}

/**
 * The lines of a text file, without empty ones.
 * @throws S3aError DATASET when it cannot be read, is larger than 256 MiB, or is a web page in place of the file
 */
export async function linesOf(path: string): Promise<string[]> {
  return (await textOf(path)).split(/\r?\n/).filter(line => line.trim() !== '');
}

/** The text of a file; throws as `linesOf` does. */
export async function textOf(path: string): Promise<string> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_TEXT) throw new Error(`it has ${size} bytes, at most ${MAX_TEXT} are read`);
    text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path));
  } catch (error) {
    throw new S3aError('DATASET', `cannot read ${path}: ${messageOf(error)}`, 'Unpack the data set again.');
  }
  if (/^\s*<(!doctype\s+html|html)/i.test(text)) {
    throw new S3aError('DATASET', `${path} is a web page, not the file itself`, 'Download the raw file.');
  }
  return text;
}

/** Bytes of a whole file of at most `limit` bytes. Throws S3aError DATASET. */
export async function bytesOf(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const { size } = await stat(path);
    if (size > limit) throw new Error(`it has ${size} bytes, at most ${limit} are read`);
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw new S3aError('DATASET', `cannot read ${path}: ${messageOf(error)}`, 'Unpack the data set again.');
  }
}

/**
 * A relative path that a list gives, if it stays below the folder it is relative to.
 * @throws S3aError DATASET naming the list otherwise
 */
export function safePath(path: string, list: string): string {
  const normal = posix.normalize(path);
  if (
    path === '' ||
    /[\\\0]/.test(path) ||
    posix.isAbsolute(path) ||
    /^[a-z]:/i.test(path) ||
    /^\.\.(\/|$)/.test(normal)
  ) {
    throw new S3aError('DATASET', `${list} names ${JSON.stringify(path.slice(0, 200))}, which is not below its folder`);
  }
  return normal;
}

/**
 * Checks that listed files are there, reading each folder once.
 * @param files relative to `root`
 * @returns for each whether it is there
 */
export async function arePresent(root: string, files: readonly string[]): Promise<boolean[]> {
  const folders = new Map<string, Set<string>>();
  for (const folder of new Set(files.map(file => posix.dirname(file)))) {
    folders.set(folder, new Set(await readdir(join(root, ...folder.split('/'))).catch(() => [])));
  }
  return files.map(file => folders.get(posix.dirname(file))!.has(posix.basename(file)));
}
