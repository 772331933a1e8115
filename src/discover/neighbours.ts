/** The neighbour graph of the images: each with the few that look most like it, and the other way round. */
import { NameSearch } from './nearest.ts';
import { type ComputeOptions, rowCount, takeRows } from './row-pass.ts';

/** A sparse symmetric graph, row by row: the neighbours of image i are `to[start[i]] … to[start[i + 1] − 1]`. */
export interface NeighbourGraph {
  readonly start: Int32Array;
  readonly to: Int32Array;
  /** Weights of a row sum to 1, or the row is empty. */
  readonly weight: Float32Array;
}

export interface NeighbourOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** Neighbours that each image looks for; default 5. */
  count?: number;
  /** [N] clusters; with more than `most` images, neighbours are looked for among those of the same cluster only. */
  clusters?: Int32Array;
  /** Default 50,000: up to there every pair is compared. */
  most?: number;
}

/**
 * The graph of the nearest images by cosine. An edge stands where either end chose the other, with the weight cos(z_i, z_j),
 * halved where only one did; rows are then scaled to the sum 1, so that one neighbour counts as much as many.
 * @param features [N, width] unit rows
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function neighbourGraph(features: Float32Array, options: NeighbourOptions): Promise<NeighbourGraph> {
  const { width, count = 5, clusters, most = 50_000 } = options;
  const images = rowCount(features, width, 'image features');
  const search = new NameSearch(width, options);
  try {
    const edges = new Edges(images, count);
    if (images <= most || !clusters) {
      const all = Int32Array.from({ length: images }, (_, i) => i);
      await choose(search, features, all, count, edges);
    } else {
      for (const members of membersOf(clusters)) {
        await choose(search, takeRows(features, width, members), members, count, edges);
      }
    }
    return edges.graph();
  } finally {
    await search.dispose();
  }
}

/** The graph from each image's chosen neighbours, −1 for none; `chosen` and `cosines` are [N, count]. */
export function graphOf(chosen: Int32Array, cosines: Float32Array, count: number): NeighbourGraph {
  const images = chosen.length / count;
  const rows = Array.from({ length: images }, () => new Map<number, number>());
  for (let i = 0; i < images; i++) {
    for (let c = 0; c < count; c++) {
      const j = chosen[i * count + c];
      const half = Math.max(0, cosines[i * count + c]) / 2;
      if (j < 0 || j === i || half === 0) continue;
      rows[i].set(j, (rows[i].get(j) ?? 0) + half);
      rows[j].set(i, (rows[j].get(i) ?? 0) + half);
    }
  }
  const start = new Int32Array(images + 1);
  rows.forEach((row, i) => {
    start[i + 1] = start[i] + row.size;
  });
  const to = new Int32Array(start[images]);
  const weight = new Float32Array(start[images]);
  rows.forEach((row, i) => {
    const sum = [...row.values()].reduce((a, b) => a + b, 0);
    let at = start[i];
    for (const [j, value] of [...row].sort(([a], [b]) => a - b)) {
      to[at] = j;
      weight[at++] = value / sum;
    }
  });
  return { start, to, weight };
}

/** The share of each image's neighbours, by weight, that has the same label; 1 for an image without neighbours. */
export function agreement({ start, to, weight }: NeighbourGraph, labels: Int32Array): Float64Array {
  return Float64Array.from(labels, (label, i) => {
    if (start[i] === start[i + 1]) return 1;
    let share = 0;
    for (let e = start[i]; e < start[i + 1]; e++) if (labels[to[e]] === label) share += weight[e];
    return Math.min(1, share);
  });
}

/** What each image has chosen so far. */
class Edges {
  readonly #count: number;
  readonly chosen: Int32Array;
  readonly cosines: Float32Array;

  constructor(images: number, count: number) {
    this.#count = count;
    this.chosen = new Int32Array(images * count).fill(-1);
    this.cosines = new Float32Array(images * count);
  }

  graph(): NeighbourGraph {
    return graphOf(this.chosen, this.cosines, this.#count);
  }
}

/** The nearest of the given images for each of them; an image is its own nearest and does not count. */
async function choose(
  search: NameSearch,
  rows: Float32Array,
  members: Int32Array,
  count: number,
  { chosen, cosines }: Edges,
): Promise<void> {
  const { top, indices, scores } = await search.nearest(rows, rows, {
    top: count + 1,
  });
  members.forEach((image, row) => {
    let kept = 0;
    for (let t = 0; t < top && kept < count; t++) {
      const other = indices[row * top + t];
      if (other < 0 || members[other] === image) continue;
      chosen[image * count + kept] = members[other];
      cosines[image * count + kept++] = scores[row * top + t];
    }
  });
}

function membersOf(clusters: Int32Array): Int32Array[] {
  const lists = new Map<number, number[]>();
  clusters.forEach((cluster, image) => {
    const list = lists.get(cluster);
    if (list) list.push(image);
    else lists.set(cluster, [image]);
  });
  return [...lists].sort(([a], [b]) => a - b).map(([, list]) => Int32Array.from(list));
}
