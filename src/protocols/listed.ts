/** Splits that are given as lists of files with labels, and classes that are folders. */
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import type { TrueClass } from '../evaluate/sealed-labels.ts';
import { firstLemma } from '../vocab/wordnet.ts';
import { arePresent, imagesIn } from './data-folder.ts';
import type { RawSplit } from './protocol.ts';

/** An image by its path relative to a folder, with the place of its class. */
export interface Listed {
  file: string;
  label: number;
}

/** The listed images that are there below `root`; one that is not is named in the split. */
export async function splitOfList(root: string, list: readonly Listed[]): Promise<RawSplit> {
  const present = await arePresent(
    root,
    list.map(({ file }) => file),
  );
  const there = list.filter((_, i) => present[i]);
  const absent = list.find((_, i) => !present[i])?.file;
  return {
    source: { kind: 'files', root, files: there.map(({ file }) => file) },
    labels: Int32Array.from(there, ({ label }) => label),
    ...(absent !== undefined && { absent }),
  };
}

/** Two splits whose lists count classes by any numbers: a label becomes the place of its number in `numbers`. */
export async function splitsOfLists(
  root: string,
  lists: { readonly train: readonly Listed[]; readonly test: readonly Listed[] },
  numbers: readonly number[],
): Promise<{ train: RawSplit; test: RawSplit }> {
  const place = new Map(numbers.map((label, i) => [label, i]));
  const split = (list: readonly Listed[]): Promise<RawSplit> =>
    splitOfList(
      root,
      list.map(({ file, label }) => ({ file, label: place.get(label)! })),
    );
  return { train: await split(lists.train), test: await split(lists.test) };
}

/** All images of the sub-folders, in the order of the classes and then of their names; a folder that is missing has none. */
export async function splitOfFolders(root: string, folders: readonly string[]): Promise<RawSplit> {
  const list: Listed[] = [];
  const empty: string[] = [];
  for (const [label, folder] of folders.entries()) {
    const names = await imagesIn(join(root, folder)).catch(() => []);
    if (names.length === 0) empty.push(folder);
    for (const name of names) list.push({ file: `${folder}/${name}`, label });
  }
  return {
    source: { kind: 'files', root, files: list.map(({ file }) => file) },
    labels: Int32Array.from(list, ({ label }) => label),
    ...(empty.length > 0 && { absent: empty[0] }),
  };
}

/** A class of WordNet under its first lemma, as the vocabularies have it (METHOD §1). Throws S3aError DATASET for no noun's id. */
export function classOfSynset(synset: string): TrueClass {
  const name = firstLemma(synset);
  if (name === undefined) throw new S3aError('DATASET', `${JSON.stringify(synset)} is no noun of WordNet 3.0`);
  return { name: name.toLowerCase(), synset };
}

/** A class by the name of its folder or in a list: lower case, with spaces for underscores. */
export function classOfName(name: string): TrueClass {
  return { name: name.toLowerCase().replaceAll('_', ' ').replace(/\s+/g, ' ').trim() };
}
