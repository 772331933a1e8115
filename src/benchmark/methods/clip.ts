/** CLIP over the vocabulary: every image gets its nearest name. */
import { see } from '../../run/fit.ts';
import type { Method } from '../method.ts';
import { byNearest } from '../nearest.ts';

export const clip: Method = {
  name: 'clip',
  title: 'CLIP, all names',
  about: 'Every image gets the nearest name of the whole vocabulary.',
  reads: [],
  async run({ config, run, filesOf, test }) {
    const { embedded, named } = await see(await run('discovery'));
    const table = { names: named.vocabulary.names, prototypes: named.prototypes };
    const unseen = await test();
    return [
      {
        part: '',
        train: await byNearest(filesOf(embedded), embedded, table, config),
        ...(unseen && { test: await byNearest(filesOf(unseen), unseen, table, config) }),
      },
    ];
  },
};
