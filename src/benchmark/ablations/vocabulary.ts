/** How many names there are to choose from; the true ones are always among them. */
import type { Ablation } from '../ablation.ts';
import { clip } from '../methods/clip.ts';
import { s3a, s3aDiscovery } from '../methods/s3a.ts';

/** From one size to the next. */
const FACTOR = 4;

export const vocabulary: Ablation = {
  name: 'vocabulary',
  title: 'Size of the vocabulary',
  about: 'The true names and others of the vocabulary at random. The images are named by CLIP and by S³A.',
  axis: { title: 'names', scale: 'log' },
  variants({ k, names, trained }) {
    const sizes: number[] = [];
    for (let size = k; size < names; size *= FACTOR) sizes.push(size);
    return [...sizes, names].flatMap(size =>
      [clip, trained ? s3a : s3aDiscovery].map(method => ({
        name: `${size} ${method === clip ? 'CLIP' : 'S³A'}`,
        value: size,
        method,
        settings: {},
        names: size,
      })),
    );
  },
};
