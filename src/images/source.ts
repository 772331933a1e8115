/** Which images a run is about: a folder, files, or a list of them, in an order that never changes. */
import type { Stats } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, extname, join, relative, resolve, sep } from 'node:path';
import { S3aError, whyOf } from '../errors.ts';

/** By these a folder is known as one that a run has written. */
const RUN_FILES = ['config.json', 'manifest.json', 'images.jsonl'];

export interface ImageList {
  /** Absolute folder that every `file_name` is relative to. */
  root: string;
  /** Paths relative to `root` with `/` between the parts, sorted by their UTF-8 bytes, without duplicates. */
  files: string[];
  /**
   * What was met and not taken: unreadable folders, missing files, broken links, pictures in formats that are not read.
   * Files that are no pictures are not reported.
   */
  skipped: Skipped[];
}

export interface Skipped {
  file_name: string;
  reason: string;
}

export interface ListOptions {
  /** Look into sub-folders; default true. */
  recursive?: boolean;
}

/** By extension only; the content is checked when the file is decoded. */
const EXTENSIONS = new Set('.jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .jfif'.split(' '));

/** Pictures that are not read, SVG on purpose (see sniff.ts): nobody should have to wonder where they went. */
const OTHERS = new Set('.heic .heif .hif .jxl .jp2 .svg .ico .psd .cr2 .cr3 .nef .arw .dng .orf .raf .rw2'.split(' '));

/**
 * Lists the images of a folder, of several folders and files, or of `.txt` lists (one path a line, relative to the list).
 *
 * A folder reached twice, by a symbolic link or a loop of them, is listed once, under its first path in sorted order.
 * Hidden files and folders (a leading dot) are left out, and so are run folders within a folder. A folder alone is its own root; otherwise the root is the
 * nearest folder that holds everything. Duplicate paths are merged.
 *
 * @throws S3aError `NOT_FOUND` when a given path does not exist, `EMPTY` when no image is found.
 */
export async function listImages(paths: string | readonly string[], options: ListOptions = {}): Promise<ImageList> {
  const given = (typeof paths === 'string' ? [paths] : paths).map(path => resolve(path));
  const found = new Set<string>();
  const skipped: { path: string; reason: string }[] = [];
  const visited = new Set<string>();
  const recursive = options.recursive ?? true;

  for (const path of given) {
    const info = await stat(path).catch(error => notFound(path, error));
    if (info.isDirectory()) await walk(path);
    else if (extname(path).toLowerCase() === '.txt') await readList(path);
    else take(path, info);
  }

  async function walk(folder: string): Promise<void> {
    try {
      const real = await realpath(folder);
      if (visited.has(real)) return;
      visited.add(real);
      const names = (await readdir(folder)).filter(name => !name.startsWith('.')).sort(byBytes);
      // The overview of a run that lies among its images is not one of them.
      if (RUN_FILES.every(name => names.includes(name)) && !given.includes(folder)) return;
      for (const name of names) await visit(join(folder, name));
    } catch (error) {
      skipped.push({ path: folder, reason: `folder cannot be read (${whyOf(error)})` });
    }
  }

  async function visit(path: string): Promise<void> {
    const kind = extname(path).toLowerCase();
    const isImage = EXTENSIONS.has(kind);
    const info = await stat(path).catch((error: unknown) => {
      const reason = path.includes('\ufffd') ? 'its name is not UTF-8; rename it' : `cannot be read (${whyOf(error)})`;
      if (isImage || (error instanceof Error && 'code' in error && error.code === 'ELOOP'))
        skipped.push({ path, reason });
    });
    if (info?.isDirectory()) {
      if (recursive) await walk(path);
    } else if (info && isImage) {
      take(path, info);
    } else if (info && OTHERS.has(kind)) {
      skipped.push({ path, reason: `${kind.slice(1)} files are not read; convert it to JPEG or PNG` });
    }
  }

  async function readList(list: string): Promise<void> {
    const text = await readFile(list, 'utf8');
    // What PowerShell's > writes; of names in other encodings each is reported by itself.
    if (text.startsWith('\ufffd\ufffd')) {
      throw new S3aError('NOT_FOUND', `the list ${list} is not in UTF-8`, 'Save it as UTF-8.');
    }
    const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
    for (const line of lines) {
      if (line.trim() === '') continue;
      const path = resolve(dirname(list), line);
      const info = await stat(path).catch((error: unknown) => whyOf(error));
      if (typeof info === 'string') skipped.push({ path, reason: `cannot be read (${info})` });
      else if (info.isDirectory()) await walk(path);
      else take(path, info);
    }
  }

  function take(path: string, info: Stats): void {
    // A named pipe would block its reader for ever, and a device might never end.
    if (info.isFile()) found.add(path);
    else skipped.push({ path, reason: 'not a regular file' });
  }

  const isFolder = given.length === 1 && (await stat(given[0])).isDirectory();
  const root = isFolder ? given[0] : commonFolder([...found, ...skipped.map(({ path }) => path)]);
  const name = (path: string): string => relative(root, path).split(sep).join('/') || '.';
  if (found.size === 0) throw empty(given, skipped, recursive);
  return {
    root,
    files: [...found].map(name).sort(byBytes),
    skipped: skipped
      .map(({ path, reason }) => ({ file_name: name(path), reason }))
      .sort((a, b) => byBytes(a.file_name, b.file_name)),
  };
}

/** UTF-8 byte order: the same on every machine and in every language setting. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function commonFolder(paths: readonly string[]): string {
  const folders = paths.map(path => dirname(path).split(sep));
  let depth = Math.min(...folders.map(parts => parts.length));
  while (folders.some(parts => parts.slice(0, depth).join(sep) !== folders[0].slice(0, depth).join(sep))) depth--;
  return folders.length === 0 ? '' : folders[0].slice(0, depth).join(sep) || sep;
}

function notFound(path: string, cause: unknown): never {
  const hint = 'Give a folder of images, image files, or a .txt file with one path a line.';
  throw new S3aError('NOT_FOUND', `${path} cannot be read: ${whyOf(cause)}`, hint, { cause });
}

function empty(
  given: readonly string[],
  skipped: readonly { path: string; reason: string }[],
  recursive: boolean,
): S3aError {
  const [first] = skipped;
  const unread = first ? ` (${skipped.length} not used, the first: ${first.path}: ${first.reason})` : '';
  const deeper = recursive ? '' : ' Sub-folders are not searched.';
  const kinds = [...EXTENSIONS].map(extension => extension.slice(1)).join(', ');
  return new S3aError('EMPTY', `no image found in ${given.join(', ')}${unread}`, `Images are ${kinds} files.${deeper}`);
}
