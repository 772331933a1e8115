/** k-means by the rules of scikit-learn: greedy k-means++ starts and Lloyd's iterations, without the work that changes nothing. */
import { S3aError } from '../../errors.ts';
import { type ComputeOptions, type Rows, rowCount, rowsOf } from '../row-pass.ts';
import { Clusters } from './clusters.ts';
import { all, type Loaded, loadedRow, loadRows, sum } from './loaded.ts';
import { inertiaOf, relocateEmpty } from './means.ts';
import { plusPlus } from './plus-plus.ts';

export interface Clustering {
  /** Cluster of every image, [N] in [0, k). */
  readonly labels: Int32Array;
  /** [k, D] means of the clusters. */
  readonly centres: Float32Array;
  /** Sum of squared distances from the images to their centres. */
  readonly inertia: number;
  readonly iterations: number;
}

export interface LloydOptions {
  /** Default 1000. */
  maxIterations?: number;
  /** Stops when the squared shift of the centres is at most this share of the features' mean variance; default 1e-4. */
  tolerance?: number;
  /** Called after every assignment with the inertia it found, and the share of the images compared with all centres. */
  onIteration?: (iteration: number, inertia: number, compared: number) => void;
}

/**
 * The images of one data set, clustered any number of times. They are loaded once, into threads that share them out;
 * results depend neither on the number of threads nor on what was computed before. They are compared on the processor,
 * whatever the device.
 */
export class KMeans {
  readonly count: number;
  readonly #rows: Rows;
  readonly #width: number;
  readonly #threads: number | undefined;
  #loading: Promise<Loaded> | undefined;

  /**
   * @param features [N, width], or rows to be read once; must not change before the first call has ended
   * @throws S3aError SHAPE; what is called later throws VALUE when a feature is not finite
   */
  constructor(features: Float32Array | Rows, width: number, { threads }: ComputeOptions = {}) {
    this.#rows = rowsOf(features, width, 'image features');
    this.count = this.#rows.count;
    this.#width = width;
    this.#threads = threads;
  }

  /**
   * Rows to start from, by greedy k-means++.
   * @param uniform a stream of numbers in [0, 1)
   * @returns [k] row indices
   * @throws S3aError CLUSTERS when there are fewer images than clusters.
   */
  async plusPlus(k: number, uniform: () => number): Promise<Int32Array> {
    this.#check(k);
    return plusPlus(await this.#load(), k, uniform);
  }

  /** The rows at the given indices as centres [k, D]. */
  async rows(indices: Int32Array): Promise<Float32Array> {
    const images = await this.#load();
    const taken = new Float32Array(indices.length * this.#width);
    await Promise.all(
      Array.from(indices, async (index, i) => taken.set(await loadedRow(images, index), i * this.#width)),
    );
    return taken;
  }

  /**
   * Lloyd's algorithm from given centres; a cluster that has become empty takes over the image farthest from its centre.
   * @param start [k, D]
   * @throws S3aError CLUSTERS when there are fewer images than clusters.
   */
  async from(start: Float32Array, options: LloydOptions = {}): Promise<Clustering> {
    const { maxIterations = 1000, tolerance = 1e-4, onIteration } = options;
    const k = rowCount(start, this.#width, 'centres');
    this.#check(k);
    const { slices, total, magic } = await this.#load();
    const clusters = new Clusters(start, this.#width);
    const assign = async (iteration: number): Promise<{ moved: number; compared: number }> => {
      const step = { k, moved: clusters.moved, rows: clusters.movedRows(), magic, fresh: iteration === 1 };
      const parts = await all(slices, slice => slice.ask<'assign'>({ kind: 'assign', step }));
      clusters.take(parts);
      return { moved: sum(parts.map(({ moved }) => moved)), compared: sum(parts.map(({ compared }) => compared)) };
    };
    let [iterations, settled, least] = [0, false, 0];
    while (iterations < maxIterations && !settled) {
      const { moved, compared } = await assign(++iterations);
      if (iterations === 1) least = tolerance * clusters.variance(total);
      onIteration?.(
        iterations,
        inertiaOf(total, clusters.sums, clusters.sizes, clusters.rounded),
        compared / this.count,
      );
      const shift = clusters.move(await this.#filled(clusters));
      settled = moved === 0;
      if (shift <= least) break;
    }
    // Short of a fixed point the centres have moved since the images were assigned.
    if (!settled) await assign(iterations + 1);
    return {
      labels: await this.#labels(),
      centres: clusters.rounded,
      inertia: inertiaOf(total, clusters.sums, clusters.sizes, clusters.centres),
      iterations,
    };
  }

  /** Frees the images and ends the threads. */
  async dispose(): Promise<void> {
    const loading = this.#loading;
    this.#loading = Promise.reject(new S3aError('RUN', 'the clustering has been disposed'));
    this.#loading.catch(() => undefined);
    const loaded = await loading?.catch(() => undefined);
    await Promise.all((loaded?.slices ?? []).map(slice => slice.close()));
  }

  #check(k: number): void {
    if (!Number.isInteger(k) || k < 1) throw new S3aError('CLUSTERS', `cannot form ${k} clusters`);
    if (k <= this.count) return;
    const hint = `Ask for at most ${this.count} clusters, or add images.`;
    throw new S3aError('CLUSTERS', `cannot form ${k} clusters from ${this.count} images`, hint);
  }

  #load(): Promise<Loaded> {
    this.#loading ??= loadRows(this.#rows, this.#threads);
    return this.#loading;
  }

  /** Sums and sizes with images moved into empty clusters; undefined when none is empty. */
  async #filled({ sums, sizes, centres }: Clusters): Promise<{ sums: Float64Array; sizes: Int32Array } | undefined> {
    const empty = [...sizes.keys()].filter(cluster => sizes[cluster] === 0);
    if (empty.length === 0) return undefined;
    const images = await this.#load();
    const { slices } = images;
    const filled = { sums: sums.slice(), sizes: sizes.slice() };
    const parts = await all(slices, async slice => {
      const far = await slice.ask<'farthest'>({ kind: 'farthest', centres, count: empty.length });
      return far.map(image => ({ ...image, index: slice.start + image.index }));
    });
    const farthest = parts.flat().sort((a, b) => b.distance - a.distance || a.index - b.index);
    await relocateEmpty(empty, farthest, image => loadedRow(images, image), filled.sums, filled.sizes);
    return filled;
  }

  async #labels(): Promise<Int32Array> {
    const { slices } = await this.#load();
    const labels = new Int32Array(this.count);
    const parts = await all(slices, slice => slice.ask<'labels'>({ kind: 'labels' }));
    parts.forEach((part, s) => {
      labels.set(part, slices[s].start);
    });
    return labels;
  }
}
