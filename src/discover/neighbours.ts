/** The neighbour graph of the images: each with the few that look most like it, and the other way round. */
import { NameSearch, type Nearest } from './nearest.ts';
import { graphOf, type NeighbourGraph } from './neighbour-graph.ts';
import { type ComputeOptions, gatherRows, type Rows, rowsOf } from './row-pass.ts';
import { partitionOf } from './vote.ts';

export { agreement, graphOf, type NeighbourGraph } from './neighbour-graph.ts';

export interface NeighbourOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** Neighbours that each image looks for; default 10. */
  count?: number;
  /** [N] clusters; with more than `most` images, neighbours are looked for in an image's cluster and those next to it. */
  clusters?: Int32Array;
  /** Default 50,000: up to there every pair is compared. */
  most?: number;
}

// Clusters next to its own in which an image looks for neighbours.
const NEXT = 4;
// Images that an image is compared with at most: a larger cluster is dealt out into parts, image by image.
const LARGEST = 16_384;
// Rows that the centres read at a time.
const BLOCK = 16_384;

/** Images that look for neighbours, and where: among themselves and further images. */
interface Part {
  readonly seekers: Int32Array;
  readonly others: readonly Int32Array[];
}

/**
 * The graph of the nearest images by cosine. An edge stands where either end chose the other, with the weight cos(z_i, z_j),
 * halved where only one did; rows are then scaled to the sum 1, so that one neighbour counts as much as many.
 * @param features [N, width] unit rows; up to `most` of them are read at once, otherwise those of a few clusters
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function neighbourGraph(
  features: Float32Array | Rows,
  options: NeighbourOptions,
): Promise<NeighbourGraph> {
  const { width, count = 10, clusters, most = 50_000 } = options;
  const rows = rowsOf(features, width, 'image features');
  const chosen = new Int32Array(rows.count * count).fill(-1);
  const cosines = new Float32Array(rows.count * count);
  const search = new NameSearch(width, options);
  const choose = async (members: Int32Array | undefined, seekers: Float32Array, among: Float32Array): Promise<void> => {
    const { top, indices, scores } = await search.nearest(seekers, among, { top: count + 1 });
    const size = seekers.length / width;
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
  };
  try {
    if (rows.count <= most || !clusters) {
      const all = await rows.read(0, rows.count);
      await choose(undefined, all, all);
    } else {
      for (const { seekers, others } of await partsOf(rows, clusters, search)) {
        const members = joined([seekers, ...others]);
        const among = await gatherRows(rows, members);
        await choose(members, among.subarray(0, seekers.length * width), among);
      }
    }
  } finally {
    await search.dispose();
  }
  return graphOf(chosen, cosines, count);
}

/** The images of every cluster, in one or more parts, each with the clusters whose centres are nearest to its own. */
async function partsOf(rows: Rows, labels: Int32Array, search: NameSearch): Promise<Part[]> {
  const { clusters, count } = partitionOf(labels);
  const lists = membersOf(clusters, count);
  const { top, indices } = await nextClusters(rows, clusters, count, search);
  return lists.flatMap((parts, k) =>
    parts.map(seekers => {
      const others: Int32Array[] = [];
      let size = seekers.length;
      for (const next of indices.subarray(k * top, (k + 1) * top)) {
        // Of a cluster in parts one is enough: each is a fair sample of it.
        const [other] = lists[next];
        if (next === k || others.length === NEXT || size + other.length > LARGEST) continue;
        others.push(other);
        size += other.length;
      }
      return { seekers, others };
    }),
  );
}

/** For every cluster those whose mean rows point most nearly the same way, itself among them. */
async function nextClusters(rows: Rows, clusters: Int32Array, count: number, search: NameSearch): Promise<Nearest> {
  const { width } = rows;
  const sums = new Float64Array(count * width);
  for (let start = 0; start < rows.count; start += BLOCK) {
    const end = Math.min(rows.count, start + BLOCK);
    const block = await rows.read(start, end);
    for (let i = start, at = 0; i < end; i++) {
      const centre = clusters[i] * width;
      for (let d = 0; d < width; d++, at++) sums[centre + d] += block[at];
    }
  }
  const centres = new Float32Array(count * width);
  for (let k = 0; k < count; k++) {
    const sum = sums.subarray(k * width, (k + 1) * width);
    const norm = Math.hypot(...sum) || 1;
    centres.set(
      sum.map(value => value / norm),
      k * width,
    );
  }
  return search.nearest(centres, centres, { top: NEXT + 1 });
}

/** The images of every cluster by rising index, large clusters in parts of about one size. */
function membersOf(clusters: Int32Array, count: number): Int32Array[][] {
  const sizes = new Int32Array(count);
  for (const cluster of clusters) sizes[cluster]++;
  const lists = Array.from(sizes, size => {
    const parts = Math.ceil(size / LARGEST);
    return Array.from({ length: parts }, (_, p) => new Int32Array(Math.ceil((size - p) / parts)));
  });
  const next = new Int32Array(count);
  clusters.forEach((cluster, image) => {
    const parts = lists[cluster];
    parts[next[cluster] % parts.length][Math.floor(next[cluster] / parts.length)] = image;
    next[cluster]++;
  });
  return lists;
}

function joined(lists: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}
