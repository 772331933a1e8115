/** A data set of one's own, described by a .json file; docs/protocols.md shows the fields. */
import { basename, join } from 'node:path';
import { z } from 'zod';
import { messageOf, S3aError } from '../errors.ts';
import type { TrueClass } from '../evaluate/sealed-labels.ts';
import { readJson } from '../io/json.ts';
import { readTable } from '../io/table.ts';
import { normalizeName } from '../vocab/vocabulary.ts';
import { arePresent, foldersIn, imagesIn, isFolder, need, safePath } from './data-folder.ts';
import { classOfName, classOfSynset, type Listed, splitOfFolders } from './listed.ts';
import { parquetSplit } from './parquet-images.ts';
import type { Protocol, RawProtocol, RawSplit } from './protocol.ts';

const MAX_JSON = 1 << 24;
const MAX_CLASSES = 100_000;

const text = () => z.string().min(1).max(4096);
const share = () => z.number().min(0).max(1);
const synset = () => z.string().regex(/^n\d{8}$/, 'a WordNet id such as n02084071');

/** A class: its name, or the name with its WordNet id. A `folder` or number in a list may stand for it. */
const classSchema = z.union([
  text(),
  z.strictObject({ name: text(), synset: synset().optional(), label: text().optional() }),
]);

/** Where the images of a split lie, and how they are labelled. */
const splitSchema = z.union([
  z.strictObject({ folders: text() }),
  z.strictObject({ list: text(), images: text().optional() }),
  z.strictObject({ parquet: z.array(text()).min(1).max(100_000), image: text().optional(), label: text().optional() }),
]);

/** What a protocol file may say. */
export const protocolSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]*$/i, 'letters, digits, . _ and - only')
    .max(100),
  title: text().optional(),
  classes: z.array(classSchema).min(1).max(MAX_CLASSES).optional(),
  outOfVocabulary: z.boolean().optional(),
  settings: z
    .strictObject({
      threshold: share(),
      emaStart: share(),
      emaEnd: share(),
      emaSteps: z.int().min(0).max(1e9),
      epochs: z.int().min(1).max(100_000),
      lr: z.number().positive().max(1),
      structuralWeight: z.number().min(0).max(1000),
    })
    .partial()
    .optional(),
  splits: z.strictObject({ train: splitSchema, test: splitSchema.optional() }),
});

type Description = z.output<typeof protocolSchema>;
type Split = z.output<typeof splitSchema>;

/**
 * The protocol that a file describes; paths in it are relative to the data folder, and stay below it.
 * @throws S3aError PROTOCOL with the first thing that is wrong in it
 */
export async function readCustomProtocol(path: string): Promise<Protocol> {
  const value = await readJson(path, MAX_JSON).catch((error: unknown) => {
    throw new S3aError('PROTOCOL', messageOf(error), 'docs/protocols.md shows what such a file holds.');
  });
  const parsed = protocolSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
    throw new S3aError('PROTOCOL', `${path}: ${where}${issue.message}`, 'docs/protocols.md shows what it may hold.');
  }
  const { name, title = name, outOfVocabulary, settings } = parsed.data;
  return {
    name,
    title,
    source: `what ${basename(path)} describes`,
    size: {},
    ...(outOfVocabulary !== undefined && { outOfVocabulary }),
    ...(settings && { settings }),
    read: folder => readDescribed(folder, parsed.data, path),
  };
}

async function readDescribed(folder: string, description: Description, path: string): Promise<RawProtocol> {
  const { splits } = description;
  const classes = createClasses(description, path);
  const read = (split: Split): Promise<RawSplit> => readSplit(folder, split, classes, path);
  const train = await read(splits.train);
  const test = splits.test && (await read(splits.test));
  return { classes: classes.list, splits: { train, ...(test && { test }) } };
}

interface Classes {
  list: TrueClass[];
  /** The place of a label; classes that are not described are added as they come. */
  placeOf(label: string | number, where: string): number;
}

function createClasses({ classes: described }: Description, path: string): Classes {
  const list: TrueClass[] = [];
  const places = new Map<string, number>();
  const add = (trueClass: TrueClass, ...labels: (string | undefined)[]): number => {
    const place = list.push(trueClass) - 1;
    if (place >= MAX_CLASSES) throw new S3aError('PROTOCOL', `${path}: more than ${MAX_CLASSES} classes`);
    for (const label of labels) if (label !== undefined) places.set(plain(label), place);
    return place;
  };
  for (const item of described ?? []) {
    if (typeof item === 'string') add(isSynset(item) ? classOfSynset(item) : { name: normalizeName(item) }, item);
    else {
      const { name, synset: id, label } = item;
      add({ name: normalizeName(name), ...(id !== undefined && { synset: id }) }, name, id, label);
    }
  }
  return {
    list,
    placeOf(label, where) {
      const name = String(label).trim();
      const known = places.get(plain(name));
      if (known !== undefined) return known;
      const number = Number(name);
      // An empty text is the number 0 to JavaScript, and to everybody else no label.
      if (described && name !== '' && Number.isInteger(number) && number >= 0 && number < list.length) return number;
      if (described || name === '') {
        const shown = JSON.stringify(name.slice(0, 100));
        throw new S3aError('DATASET', `${where}: ${shown} is none of the classes in ${path}`, 'Add it to "classes".');
      }
      return add(isSynset(name) ? classOfSynset(name) : classOfName(name), name);
    },
  };
}

async function readSplit(folder: string, split: Split, classes: Classes, path: string): Promise<RawSplit> {
  const wanted = { title: path, source: 'where this data set is kept' };
  const below = (place: string): Promise<string> => need(folder, [safePath(place, path)], wanted);
  if ('folders' in split) {
    const root = await below(split.folders);
    const folders: string[] = [];
    for (const name of (await isFolder(root)) ? await foldersIn(root) : []) {
      if ((await imagesIn(join(root, name))).length > 0) folders.push(name);
    }
    const places = folders.map(name => classes.placeOf(name, root));
    const { source, labels } = await splitOfFolders(root, folders);
    return { source, labels: Int32Array.from(labels, label => places[label]) };
  }
  if ('list' in split) {
    const list = await below(split.list);
    return readList(list, split.images === undefined ? folder : await below(split.images), classes);
  }
  const files: string[] = [];
  for (const file of split.parquet) files.push(await below(file));
  const { split: found } = await parquetSplit(files, {
    wanted,
    image: split.image === undefined ? ['image', 'img'] : [split.image],
    label: split.label === undefined ? ['label'] : [split.label],
    labelOf: (label, names) => classes.placeOf(typeof label === 'number' ? (names?.[label] ?? label) : label, files[0]),
  });
  return found;
}

/** A table with the columns `file_name` and `label`. */
async function readList(list: string, root: string, classes: Classes): Promise<RawSplit> {
  const rows = await readTable(list);
  const listed = rows.map(({ file_name: file, label }, i): Listed => {
    if (typeof file !== 'string' || (typeof label !== 'string' && typeof label !== 'number')) {
      throw new S3aError('DATASET', `${list}, row ${i + 1}: no file_name or no label`);
    }
    return { file: safePath(file, list), label: classes.placeOf(label, `${list}, row ${i + 1}`) };
  });
  const files = listed.map(({ file }) => file);
  const seen = new Set<string>();
  const twice = files.find(file => seen.size === seen.add(file).size);
  if (twice !== undefined) throw new S3aError('DATASET', `${list} has ${twice} twice`);
  const absent = (await arePresent(root, files)).indexOf(false);
  if (absent >= 0) throw new S3aError('DATASET', `${list} names ${files[absent]}, which is not in ${root}`);
  return { source: { kind: 'files', root, files }, labels: Int32Array.from(listed, ({ label }) => label) };
}

function isSynset(label: string): boolean {
  return /^n\d{8}$/.test(label);
}

function plain(label: string): string {
  return normalizeName(label.replaceAll('_', ' '));
}
