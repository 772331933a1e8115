/** The vote repeated, as semantic category discovery does it: clusters elect names, images move, and again. */
import { cluster } from '../../run/cluster.ts';
import { see } from '../../run/fit.ts';
import { vote } from '../../run/vote.ts';
import type { Method } from '../method.ts';
import { byDiscovery } from '../nearest.ts';

export const scd: Method = {
  name: 'scd',
  title: 'vote × 3 (SCD-style)',
  about: 'Clusters elect names and images move to the nearest elected name, in rounds; no phrases, no training.',
  reads: ['discover'],
  settings: { method: 's3a' },
  async run(context) {
    const opened = await context.run('discovery');
    const { embedded, named } = await see(opened);
    const clusters = await cluster(opened, embedded);
    const { steps } = await vote(opened, embedded, named, clusters);
    const labels = Object.values(steps).at(-1)!;
    return [await byDiscovery(context, { embedded, named }, { clusters, labels, part: '' })];
  },
};
