/** The vote repeated, as semantic category discovery does it: clusters elect names, images move, and again. */
import { cluster } from '../../run/cluster.ts';
import { see } from '../../run/fit.ts';
import { vote } from '../../run/vote.ts';
import type { Method } from '../method.ts';
import { byNearest, distinct, named as namesOf } from '../nearest.ts';

export const scd: Method = {
  name: 'scd',
  title: 'vote × 3 (SCD-style)',
  about: 'Clusters elect names and images move to the nearest elected name, in rounds; no phrases, no training.',
  reads: ['discover'],
  settings: { method: 's3a' },
  async run({ config, run, filesOf, test }) {
    const opened = await run('discovery');
    const { embedded, named } = await see(opened);
    const clusters = await cluster(opened, embedded);
    const { steps } = await vote(opened, embedded, named, clusters);
    const labels = Object.values(steps).at(-1)!;
    const { names } = named.vocabulary;
    const unseen = await test();
    const table = { names, prototypes: named.prototypes };
    return [
      {
        part: '',
        train: { files: filesOf(embedded), names: namesOf(labels, names), clusters },
        ...(unseen && { test: await byNearest(filesOf(unseen), unseen, table, config, distinct(labels)) }),
      },
    ];
  },
};
