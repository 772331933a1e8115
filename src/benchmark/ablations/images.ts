/** How many images there are to learn from. */
import type { Ablation } from '../ablation.ts';
import { s3a } from '../methods/s3a.ts';

const SHARES = [0.1, 0.25, 0.5, 1];

export const images: Ablation = {
  name: 'images',
  title: 'Number of images',
  about: 'A share of the training images, taken at random without regard to classes; the test images stay the same.',
  axis: { title: '% of the training images', scale: 'log' },
  variants: () =>
    SHARES.map(share => ({
      name: `${100 * share} %`,
      value: 100 * share,
      method: s3a,
      settings: {},
      ...(share < 1 && { images: share }),
    })),
};
