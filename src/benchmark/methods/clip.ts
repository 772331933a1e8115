/** CLIP over the vocabulary: every image gets its nearest name. */
import { see } from '../../run/fit.ts';
import type { Method } from '../method.ts';
import { zeroShot } from '../nearest.ts';

export const clip: Method = {
  name: 'clip',
  title: 'CLIP, all names',
  about: 'Every image gets the nearest name of the whole vocabulary.',
  reads: [],
  async run(context) {
    const { embedded, named } = await see(await context.run('discovery'));
    return [await zeroShot(context, embedded, { names: named.vocabulary.names, prototypes: named.prototypes })];
  },
};
