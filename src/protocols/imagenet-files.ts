/** The files of ILSVRC 2012 in the ways they are kept: unpacked from the tars, as Kaggle has them, or as parquet from the hub. */
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { loadWordnet } from '../vocab/wordnet.ts';
import { absent, exists, firstOf, foldersIn, imagesIn, linesOf, namesIn, need } from './data-folder.ts';
import { classOfSynset, type Listed, splitOfFolders, splitOfList } from './listed.ts';
import { matText, numbersOf, readMat } from './mat-file.ts';
import { isParquet, parquetFiles, parquetSplit } from './parquet-images.ts';
import type { RawProtocol, RawSplit } from './protocol.ts';

export const WANTED = {
  title: 'ImageNet',
  source:
    'https://image-net.org/download (ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz)',
} as const;

/** Where a split lies below the data folder, in the order of looking. */
const PLACES = (split: 'train' | 'val'): string[] => [
  split,
  `ILSVRC2012_img_${split}`,
  `ILSVRC/Data/CLS-LOC/${split}`,
  `Data/CLS-LOC/${split}`,
  `imagenet/${split}`,
];

/** The 1,000 synsets of ILSVRC 2012 in the order of their ids, which is that of the class numbers in use. */
export function imagenetIds(): string[] {
  const { sets, id } = loadWordnet();
  return Array.from(sets, (set, line) => (set === '1' || set === '3' ? id(line) : '')).filter(text => text !== '');
}

/**
 * Images of some of the classes: `train` from the training set, `test` from the validation set.
 * @throws S3aError DATASET for what is missing or not unpacked
 */
export async function readImagenet(folder: string, ids: readonly string[]): Promise<RawProtocol> {
  const classes = ids.map(classOfSynset);
  const train = await firstOf(folder, PLACES('train'));
  if (train === undefined && (await isParquet(folder, 'train'))) {
    return {
      classes,
      splits: { train: await hubSplit(folder, 'train', ids), test: await hubSplit(folder, 'validation', ids) },
    };
  }
  if (train === undefined) return absent(folder, PLACES('train'), WANTED);
  const test = await readValidation(folder, await need(folder, PLACES('val'), WANTED), ids);
  return { classes, splits: { train: await readTraining(train, ids), test } };
}

/** A folder a class, named by its id. */
async function readTraining(root: string, ids: readonly string[]): Promise<RawSplit> {
  const split = await splitOfFolders(root, ids);
  if (split.labels.length > 0) return split;
  const names = await namesIn(root);
  const packed = names.find(name => /^n\d{8}\.tar$/.test(name));
  throw new S3aError(
    'DATASET',
    packed
      ? `${root} holds ${packed} and others that are not unpacked`
      : `${root} has no folder such as ${ids[0]} with images`,
    packed ? 'Unpack each of them into a folder of its name, without .tar.' : `Get them from ${WANTED.source}.`,
  );
}

/** Validation images in folders like the training ones, or all in one, with labels from Kaggle's table or the owners' devkit. */
async function readValidation(folder: string, root: string, ids: readonly string[]): Promise<RawSplit> {
  if ((await foldersIn(root)).some(name => /^n\d{8}$/.test(name))) return splitOfFolders(root, ids);
  const names = (await imagesIn(root)).filter(name => /^ILSVRC2012_val_\d{8}\.jpeg$/i.test(name));
  const synsets = (await kaggleLabels(folder)) ?? (await devkitLabels(folder));
  const place = new Map(ids.map((id, i) => [id, i]));
  const list: Listed[] = [];
  for (const file of names) {
    const number = Number(/\d{8}(?=\.)/.exec(file)![0]);
    const synset = synsets(number);
    if (synset === undefined) throw new S3aError('DATASET', `${join(root, file)} has no label`, WANTED.source);
    const label = place.get(synset);
    if (label !== undefined) list.push({ file, label });
  }
  return splitOfList(root, list);
}

type SynsetOf = (number: number) => string | undefined;

/** `ImageId,PredictionString`, where the string begins with the id: `ILSVRC2012_val_00048981,n03995372 85 1 499 272`. */
async function kaggleLabels(folder: string): Promise<SynsetOf | undefined> {
  const path = join(folder, 'LOC_val_solution.csv');
  if (!(await exists(path))) return undefined;
  const synsets = new Map<number, string>();
  for (const line of await linesOf(path)) {
    const found = /^ILSVRC2012_val_(\d{8}),(n\d{8}) /.exec(line);
    if (found) synsets.set(Number(found[1]), found[2]);
  }
  return number => synsets.get(number);
}

/**
 * Line n of the ground truth is the label of image n. It is an ILSVRC2012_ID, from 1 and in an order of its own, that meta.mat
 * translates; high-level synsets, which have children, come after the 1,000 classes there.
 */
async function devkitLabels(folder: string): Promise<SynsetOf> {
  const places = (name: string): string[] => [`ILSVRC2012_devkit_t12/data/${name}`, `data/${name}`, name];
  const truth = 'ILSVRC2012_validation_ground_truth.txt';
  const path = await need(folder, [...places(truth), 'LOC_val_solution.csv'], WANTED);
  const metaPath = await need(folder, places('meta.mat'), WANTED);
  const { synsets } = await readMat(metaPath, ['synsets']);
  const ids = new Map<number, string>();
  for (const fields of synsets.kind === 'structs' ? synsets.fields : []) {
    const [id, wnid] = [numbersOf(fields.ILSVRC2012_ID)?.[0], matText(fields.WNID)];
    if (id !== undefined && wnid !== undefined && numbersOf(fields.num_children)?.[0] === 0) ids.set(id, wnid);
  }
  const lines = await linesOf(path);
  const labels = lines.map(line => ids.get(Number(line)));
  const wrong = labels.indexOf(undefined);
  if (wrong >= 0) {
    throw new S3aError(
      'DATASET',
      `${path}, line ${wrong + 1}: ${JSON.stringify(lines[wrong].slice(0, 50))} is no class of ${metaPath}`,
    );
  }
  return number => labels[number - 1];
}

/** The hub's copy numbers the classes in the order of their ids. */
async function hubSplit(folder: string, name: string, ids: readonly string[]): Promise<RawSplit> {
  const place = new Map(ids.map((id, i) => [id, i]));
  const all = imagenetIds();
  const { split } = await parquetSplit(await parquetFiles(folder, name), {
    wanted: WANTED,
    image: ['image'],
    label: ['label'],
    labelOf: label => place.get(all[Number(label)]),
  });
  return split;
}
