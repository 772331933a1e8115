/** Oxford-IIIT Pet: 37 breeds, `images/Abyssinian_1.jpg`, with `annotations/trainval.txt` and `annotations/test.txt`. */
import { S3aError } from '../../errors.ts';
import { linesOf, need, safePath } from '../data-folder.ts';
import { classOfName, type Listed, splitsOfLists } from '../listed.ts';
import type { Protocol, RawProtocol } from '../protocol.ts';

const wanted = {
  title: 'Oxford-IIIT Pet',
  source: 'https://www.robots.ox.ac.uk/~vgg/data/pets/ (images.tar.gz and annotations.tar.gz)',
};

export const oxfordPet: Protocol = {
  ...wanted,
  name: 'oxford-pet',
  size: { classes: 37, train: 3_680, test: 3_669 },
  outOfVocabulary: true,
  settings: { threshold: 0.7, emaStart: 0.99, emaSteps: 100 },
  async read(folder): Promise<RawProtocol> {
    const places = (name: string): string[] => [name, `oxford-iiit-pet/${name}`, `oxford_iiit_pet/${name}`];
    const images = await need(folder, places('images'), wanted);
    const annotations = await need(folder, places('annotations'), wanted);
    const breeds = new Map<number, string>();
    const read = async (name: string): Promise<Listed[]> => {
      const path = await need(annotations, [name], wanted);
      const list: Listed[] = [];
      for (const line of await linesOf(path)) {
        // Image, class from 1, species, breed; list.txt, which has both splits, begins with comments.
        const [image, id] = line.trim().split(/\s+/);
        if (image.startsWith('#')) continue;
        const label = Number(id);
        const breed = image.replace(/_[^_]*$/, '');
        const known = breeds.get(label) ?? breed;
        if (!(Number.isInteger(label) && label >= 1) || known !== breed) {
          throw new S3aError('DATASET', `${path}: ${JSON.stringify(line.slice(0, 100))} is no image with its class`);
        }
        breeds.set(label, breed);
        list.push({ file: safePath(`${image}.jpg`, path), label });
      }
      return list;
    };
    const lists = { train: await read('trainval.txt'), test: await read('test.txt') };
    const labels = [...breeds.keys()].sort((a, b) => a - b);
    return {
      classes: labels.map(label => classOfName(breeds.get(label)!)),
      splits: await splitsOfLists(images, lists, labels),
    };
  },
};
