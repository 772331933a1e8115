/** The cluster step (METHOD §2.1): k-means++ with restarts; the run of the lowest inertia is kept. */
import { random } from '../random.ts';
import { type Clustering, KMeans, type LloydOptions } from './kmeans/kmeans.ts';
import type { ComputeOptions, Rows } from './row-pass.ts';

export type { Clustering } from './kmeans/kmeans.ts';

export interface ClusterOptions extends ComputeOptions, Omit<LloydOptions, 'onIteration'> {
  /** Number of clusters. */
  k: number;
  /** Embedding width D. */
  width: number;
  /** Starts; default 17. */
  nInit?: number;
  /** Default 0. */
  seed?: number;
  onProgress?: (progress: ClusterProgress) => void;
}

export interface ClusterProgress {
  /** The current start, from 1. */
  readonly start: number;
  readonly starts: number;
  readonly iteration: number;
  readonly inertia: number;
}

/** Clusters that are `multiple` times as many as there are kinds of things, rounded up; `multiple` is 1 or more. */
export function overClustered(kinds: number, multiple: number): number {
  // In floating point 10 · 1.1 is a little more than 11.
  return Math.ceil(kinds * multiple - 1e-9);
}

/**
 * Clusters image features by k-means, as scikit-learn's KMeans does (METHOD §2.1: n_init 17, max_iter 1000, seed 0). The
 * result depends on the seed and not on the number of threads.
 * @param features [N, width], unit rows, in memory or read once from where they are
 * @throws S3aError CLUSTERS when there are fewer images than clusters, SHAPE, or VALUE when a feature is not finite.
 */
export async function cluster(features: Float32Array | Rows, options: ClusterOptions): Promise<Clustering> {
  const kmeans = new KMeans(features, options.width, options);
  try {
    return await bestOf(kmeans, options);
  } finally {
    await kmeans.dispose();
  }
}

/** The best of `nInit` seeded runs on features that are ready; the first among equals. */
async function bestOf(kmeans: KMeans, options: Omit<ClusterOptions, 'width'>): Promise<Clustering> {
  const { k, nInit = 17, seed = 0, onProgress } = options;
  let best: Clustering | undefined;
  for (let start = 1; start <= Math.max(1, nInit); start++) {
    const rows = await kmeans.plusPlus(k, random(seed, 'cluster', k, start).next);
    const run = await kmeans.from(await kmeans.rows(rows), {
      ...options,
      onIteration: (iteration, inertia) => onProgress?.({ start, starts: nInit, iteration, inertia }),
    });
    if (!best || run.inertia < best.inertia) best = run;
  }
  return best!;
}
