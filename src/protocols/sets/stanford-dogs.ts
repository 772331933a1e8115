/** StanfordDogs: 120 breeds in `Images/n02085620-Chihuahua/`, with the owners' lists train_list.mat and test_list.mat. */
import { join } from 'node:path';
import { S3aError } from '../../errors.ts';
import { need, safePath } from '../data-folder.ts';
import { classOfSynset, type Listed, splitsOfLists } from '../listed.ts';
import { type MatValue, matText, numbersOf, readMat } from '../mat-file.ts';
import type { Protocol, RawProtocol } from '../protocol.ts';

const wanted = {
  title: 'StanfordDogs',
  source: 'http://vision.stanford.edu/aditya86/ImageNetDogs/ (images.tar and lists.tar)',
};

export const stanfordDogs: Protocol = {
  ...wanted,
  name: 'stanford-dogs',
  size: { classes: 120, train: 12_000, test: 8_580 },
  async read(folder): Promise<RawProtocol> {
    const places = (name: string): string[] => [name, `lists/${name}`, `StanfordDogs/${name}`];
    const images = await need(folder, ['Images', 'images/Images', 'StanfordDogs/Images'], wanted);
    const lists = {
      train: await readList(await need(folder, places('train_list.mat'), wanted)),
      test: await readList(await need(folder, places('test_list.mat'), wanted)),
    };
    // A label is a number from 1; which breed that is, the folders of its images say.
    const breeds = new Map<number, string>();
    for (const { file, label } of [...lists.train, ...lists.test]) {
      const breed = file.split('/')[0];
      const known = breeds.get(label) ?? breed;
      if (known !== breed) throw disagree(images, label, known, breed);
      breeds.set(label, breed);
    }
    const labels = [...breeds.keys()].sort((a, b) => a - b);
    return {
      classes: labels.map(label => classOfSynset(breeds.get(label)!.split('-')[0])),
      splits: await splitsOfLists(images, lists, labels),
    };
  },
};

async function readList(path: string): Promise<Listed[]> {
  const { file_list: files, labels } = await readMat(path, ['file_list', 'labels']);
  const cells: readonly MatValue[] = files.kind === 'cells' ? files.cells : [];
  const numbers = numbersOf(labels);
  if (cells.length === 0 || numbers?.length !== cells.length) {
    throw new S3aError('DATASET', `${path}: file_list and labels do not belong together`, 'Unpack lists.tar again.');
  }
  return cells.map((cell, i) => ({ file: safePath(matText(cell) ?? '', path), label: numbers[i] }));
}

function disagree(images: string, label: number, a: string, b: string): S3aError {
  return new S3aError(
    'DATASET',
    `the lists beside ${join(images, '..')} give the label ${label} to both ${a} and ${b}`,
    'Unpack lists.tar again.',
  );
}
