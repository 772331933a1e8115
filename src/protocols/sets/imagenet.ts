/** ImageNet-1K of ILSVRC 2012, and the 100 of its classes that METHOD's figures are taken on. */
import { imagenetIds, readImagenet, WANTED } from '../imagenet-files.ts';
import { legacyRandom } from '../legacy-random.ts';
import type { Protocol } from '../protocol.ts';

export const imagenet1k: Protocol = {
  ...WANTED,
  name: 'imagenet-1k',
  title: 'ImageNet-1K',
  size: { classes: 1000, train: 1_281_167, test: 50_000 },
  read: folder => readImagenet(folder, imagenetIds()),
};

export const imagenet100: Protocol = {
  ...WANTED,
  name: 'imagenet-100',
  title: 'ImageNet-100',
  size: { classes: 100, test: 5_000 },
  read: folder => readImagenet(folder, imagenet100Ids()),
};

/** The 100 classes: those that `numpy.random.seed(0)` and `choice(1000, 100, replace=False)` draw, in the order of their ids. */
export function imagenet100Ids(): string[] {
  const ids = imagenetIds();
  return Array.from(legacyRandom(0).permutation(ids.length).subarray(0, 100), i => ids[i]).sort();
}
