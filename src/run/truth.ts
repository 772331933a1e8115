/** Known labels for the images of a run: from a table, or from a folder whose sub-folders are the classes. */
import { stat } from 'node:fs/promises';
import { basename, dirname, posix } from 'node:path';
import { S3aError, whyOf } from '../errors.ts';
import { listImages } from '../images/source.ts';
import { readTable } from '../io/table.ts';
import { normalizeName, type Vocabulary } from '../vocab/vocabulary.ts';
import { firstLemma } from '../vocab/wordnet.ts';

/** The labels of files by their names, undefined where there is none. */
export type Truth = (fileNames: readonly string[]) => (string | undefined)[];

/**
 * Reads known labels.
 *
 * In a folder an image's class is the name of the folder it lies in. A table has the columns `file_name` and `label`; a row
 * without a label says nothing. Labels are those of the images with the same relative names; where no image has such a name, of
 * those with the same names, as far as these are unique.
 * @param path a folder, or a .csv, .jsonl or .parquet table
 * @throws S3aError LABELS for what is wrong with them, and what reading throws
 */
export async function readTruth(path: string): Promise<Truth> {
  const info = await stat(path).catch((error: unknown) => {
    throw new S3aError('LABELS', `cannot read the labels ${path}: ${whyOf(error)}`, 'Give a folder or a .csv file.');
  });
  const pairs = info.isDirectory() ? await fromFolder(path) : await fromTable(path);
  const exact = new Map<string, string>();
  const byName = new Map<string, string | undefined>();
  for (const [file, label] of pairs) {
    const known = exact.get(file);
    if (known !== undefined && known !== label) {
      throw new S3aError('LABELS', `${path}: ${file} is labelled both ${known} and ${label}`);
    }
    exact.set(file, label);
    const name = basename(file);
    // Two files of one name can only be told apart by their folders, unless they are of one class.
    byName.set(name, !byName.has(name) || byName.get(name) === label ? label : undefined);
  }
  return files => {
    if (files.some(file => exact.has(file))) return files.map(file => exact.get(file));
    const times = new Map<string, number>();
    for (const file of files) times.set(basename(file), (times.get(basename(file)) ?? 0) + 1);
    return files.map(file => (times.get(basename(file)) === 1 ? byName.get(basename(file)) : undefined));
  };
}

async function fromFolder(path: string): Promise<[string, string][]> {
  const { files } = await listImages(path);
  const pairs = files
    .filter(file => dirname(file) !== '.')
    .map((file): [string, string] => [file, basename(dirname(file))]);
  if (pairs.length > 0) return pairs;
  throw new S3aError(
    'LABELS',
    `${path} has no sub-folders with images`,
    'Its sub-folders must be named by the classes.',
  );
}

async function fromTable(path: string): Promise<[string, string][]> {
  const rows = await readTable(path);
  return rows.flatMap((row, i): [string, string][] => {
    const { file_name: file, label } = row;
    if (typeof file === 'string' && (label === null || label === '')) return [];
    if (typeof file === 'string' && (typeof label === 'string' || typeof label === 'number'))
      return [[posix.normalize(file), String(label)]];
    const has = Object.keys(row).join(', ').slice(0, 100);
    throw new S3aError(
      'LABELS',
      `${path}, row ${i + 1}: no file_name or no label; its columns are ${has}`,
      'The first line of a .csv file is file_name,label with a comma between the two, as in all other lines.',
    );
  });
}

/**
 * How a class is called in a vocabulary: WordNet ids become the name they have there (or their first lemma), and underscores
 * become spaces where that gives a known name, or the label has no spaces of its own.
 */
export function nameOfLabel({ names, entries }: Vocabulary): (label: string) => string {
  const known = new Set(names);
  const byId = new Map(entries.flatMap(({ name, synsets }) => synsets.flatMap(({ id }) => (id ? [[id, name]] : []))));
  return label => {
    const id = /^n\d{8}$/.exec(label.trim().toLowerCase())?.[0];
    const found = id && (byId.get(id) ?? firstLemma(id));
    if (found) return normalizeName(found);
    const plain = normalizeName(label);
    return known.has(plain) || plain.includes(' ') ? plain : normalizeName(plain.replaceAll('_', ' '));
  };
}
