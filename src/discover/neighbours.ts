/** The neighbour graph of the images: each with the few that look most like it, and the other way round. */
import { NameSearch } from './nearest.ts';
import { graphOf, type NeighbourGraph } from './neighbour-graph.ts';
import { type ComputeOptions, gatherRows, type Rows, rowsOf } from './row-pass.ts';

export { agreement, graphOf, type NeighbourGraph } from './neighbour-graph.ts';

export interface NeighbourOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** Neighbours that each image looks for; default 10. */
  count?: number;
  /** [N] clusters; with more than `most` images, neighbours are looked for among those of the same cluster only. */
  clusters?: Int32Array;
  /** Default 50,000: up to there every pair is compared. */
  most?: number;
  onProgress?: (done: number, total: number) => void;
}

// Images that are compared with each other at most: a larger cluster is dealt out into parts, image by image.
const LARGEST = 16_384;

/**
 * The graph of the nearest images by cosine. An edge stands where either end chose the other, with the weight cos(z_i, z_j),
 * halved where only one did; rows are then scaled to the sum 1, so that one neighbour counts as much as many.
 * @param features [N, width] unit rows; up to `most` of them are read at once, otherwise those of one cluster
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function neighbourGraph(
  features: Float32Array | Rows,
  options: NeighbourOptions,
): Promise<NeighbourGraph> {
  const { width, count = 10, clusters, most = 50_000, onProgress } = options;
  const rows = rowsOf(features, width, 'image features');
  const chosen = new Int32Array(rows.count * count).fill(-1);
  const cosines = new Float32Array(rows.count * count);
  const search = new NameSearch(width, options);
  try {
    const whole = rows.count <= most || !clusters;
    let done = 0;
    for (const members of whole ? [undefined] : partsOf(clusters)) {
      const part = members ? await gatherRows(rows, members) : await rows.read(0, rows.count);
      const { top, indices, scores } = await search.nearest(part, part, { top: count + 1 });
      const size = part.length / width;
      for (let row = 0; row < size; row++) {
        let at = (members?.[row] ?? row) * count;
        const end = at + count;
        // An image is its own nearest and does not count; it need not be the first among equal ones.
        for (let t = row * top; t < (row + 1) * top && at < end; t++) {
          if (indices[t] < 0 || indices[t] === row) continue;
          chosen[at] = members?.[indices[t]] ?? indices[t];
          cosines[at++] = scores[t];
        }
      }
      done += size;
      onProgress?.(done, rows.count);
    }
  } finally {
    await search.dispose();
  }
  return graphOf(chosen, cosines, count);
}

/** The images of every cluster by rising index, large clusters in parts of about one size. */
function partsOf(clusters: Int32Array): Int32Array[] {
  const sizes = new Map<number, number>();
  for (const cluster of clusters) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
  const lists = new Map(
    [...sizes]
      .sort(([a], [b]) => a - b)
      .map(([cluster, size]) => {
        const parts = Math.ceil(size / LARGEST);
        const list = Array.from({ length: parts }, (_, p) => new Int32Array(Math.ceil((size - p) / parts)));
        return [cluster, { list, next: 0 }];
      }),
  );
  clusters.forEach((cluster, image) => {
    const of = lists.get(cluster)!;
    of.list[of.next % of.list.length][Math.floor(of.next / of.list.length)] = image;
    of.next++;
  });
  return [...lists.values()].flatMap(({ list }) => list);
}
