/** k-means and one vote: every image gets the name that its cluster has won. */
import { assignNames, countVotes, partitionOf } from '../../discover/vote.ts';
import { cluster } from '../../run/cluster.ts';
import { see } from '../../run/fit.ts';
import { vote } from '../../run/vote.ts';
import type { Method } from '../method.ts';
import { byDiscovery } from '../nearest.ts';

export const kmeansVote: Method = {
  name: 'kmeans-vote',
  title: 'k-means + one vote',
  about: 'Clusters elect their names once, one to one, and images keep to their clusters.',
  reads: ['discover'],
  settings: { method: 's3a' },
  async run(context) {
    const opened = await context.run('discovery');
    const { embedded, named } = await see(opened);
    const clusters = await cluster(opened, embedded);
    const { zeroShot } = await vote(opened, embedded, named, clusters);
    const partition = partitionOf(clusters);
    const elected = assignNames(countVotes(zeroShot, partition), named.vocabulary.names.length);
    const labels = partition.clusters.map(k => elected[k]);
    return [await byDiscovery(context, { embedded, named }, { clusters, labels, part: '' })];
  },
};
