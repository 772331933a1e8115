/** The neighbour graph of a run's features, made once for the vote and for the confidences of labels. */
import { type NeighbourGraph, neighbourGraph } from '../discover/neighbours.ts';
import type { Rows } from '../discover/row-pass.ts';
import type { Embedded } from './embed.ts';
import type { Run } from './store.ts';

const made = new WeakMap<Rows, Map<number, Promise<NeighbourGraph>>>();

/**
 * Each image with the `count` images that look most like it.
 * @param clusters [N] the clusters of METHOD §2.1, which keep the search short where there are many images
 */
export function neighboursOf(
  { config: { threads, device } }: Run,
  { features, width }: Pick<Embedded, 'features' | 'width'>,
  clusters: Int32Array,
  count: number,
): Promise<NeighbourGraph> {
  const graphs = made.get(features) ?? new Map<number, Promise<NeighbourGraph>>();
  made.set(features, graphs);
  const graph = graphs.get(count) ?? neighbourGraph(features, { width, count, clusters, threads, device });
  graphs.set(count, graph);
  return graph;
}
