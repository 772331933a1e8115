/** k-means by the rules of scikit-learn: greedy k-means++ starts and Lloyd's iterations, without the work that changes nothing. */
import { S3aError } from '../../errors.ts';
import { type ComputeOptions, type Rows, rowCount, rowsOf } from '../row-pass.ts';
import { Clusters } from './clusters.ts';
import { inertiaOf, relocateEmpty } from './means.ts';
import { type Located, PART } from './seeder.ts';
import { openSlices, type Slice } from './slices.ts';

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

// Values that are read and handed to a slice at once: 4 MB.
const BLOCK = 2 ** 20;

/** What the images say about themselves once they are loaded. */
interface Loaded {
  readonly slices: readonly Slice[];
  readonly norms: Float64Array;
  /** Sum of the squared lengths. */
  readonly total: number;
  /** Of the grid on which sums of rows are exact, whatever the order. */
  readonly magic: number;
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
   * Rows to start from, by greedy k-means++: every further row is drawn 2 + ⌊ln k⌋ times with a chance proportional to
   * the squared distance from the nearest row before it, and the draw that lowers the potential most stays.
   * @param uniform a stream of numbers in [0, 1)
   * @returns [k] row indices
   * @throws S3aError CLUSTERS when there are fewer images than clusters.
   */
  async plusPlus(k: number, uniform: () => number): Promise<Int32Array> {
    this.#check(k);
    const { slices, norms } = await this.#load();
    const trials = 2 + Math.floor(Math.log(k));
    const chosen = new Int32Array(k);
    chosen[0] = Math.floor(uniform() * this.count);
    await all(slices, slice => slice.ask<'seed'>({ kind: 'seed' }));
    let drawn: Located[] = [{ index: chosen[0], row: await this.#row(chosen[0]) }];
    let parts = (await this.#try(drawn, norms))[0];
    let kept = 0;
    for (let c = 1; c < k; c++) {
      const potential = sum(parts);
      const values = Array.from({ length: trials }, () => uniform() * potential);
      drawn = await this.#locate(kept, parts, values);
      const tried = await this.#try(drawn, norms);
      const potentials = tried.map(sum);
      kept = potentials.indexOf(Math.min(...potentials));
      chosen[c] = drawn[kept].index;
      parts = tried[kept];
    }
    return chosen;
  }

  /** The rows at the given indices as centres [k, D]. */
  async rows(indices: Int32Array): Promise<Float32Array> {
    const taken = new Float32Array(indices.length * this.#width);
    await Promise.all(Array.from(indices, async (index, i) => taken.set(await this.#row(index), i * this.#width)));
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
      onIteration?.(iterations, clusters.inertia(total), compared / this.count);
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
    this.#loading ??= this.#read();
    return this.#loading;
  }

  async #read(): Promise<Loaded> {
    const slices = await openSlices(this.count, this.#width, this.#threads);
    try {
      const step = Math.min(this.count, Math.max(1, Math.floor(BLOCK / this.#width)));
      const load = async (slice: Slice): Promise<void> => {
        // Memory that both threads see, used again for every block: fresh memory costs as much as the copy.
        const shared = new Float32Array(new SharedArrayBuffer(4 * step * this.#width));
        for (let start = slice.start; start < slice.end; start += step) {
          const rows = await this.#rows.read(start, Math.min(slice.end, start + step));
          shared.set(rows);
          await slice.ask<'append'>({ kind: 'append', block: shared.subarray(0, rows.length) });
        }
      };
      await all(slices, load);
      const norms = joined(await all(slices, slice => slice.ask<'norms'>({ kind: 'norms' })), this.count);
      const bad = norms.findIndex(norm => !Number.isFinite(norm));
      if (bad >= 0) throw new S3aError('VALUE', `the features of image ${bad} are not all finite numbers`);
      const largest = Math.max(
        1e-30,
        norms.reduce((most, norm) => Math.max(most, norm), 0),
      );
      // No value is larger than a row is long. Sums of all rows stay below 2⁵² steps of the grid, so float64 holds every one of them exactly.
      const magic = 1.5 * 2 ** Math.ceil(Math.log2(Math.sqrt(largest) * this.count));
      return { slices, norms, total: sum(norms), magic };
    } catch (error) {
      await Promise.all(slices.map(slice => slice.close()));
      throw error;
    }
  }

  /** Sums and sizes with images moved into empty clusters; undefined when none is empty. */
  async #filled({ sums, sizes, centres }: Clusters): Promise<{ sums: Float64Array; sizes: Int32Array } | undefined> {
    const empty = [...sizes.keys()].filter(cluster => sizes[cluster] === 0);
    if (empty.length === 0) return undefined;
    const { slices } = await this.#load();
    const filled = { sums: sums.slice(), sizes: sizes.slice() };
    const parts = await all(slices, async slice => {
      const far = await slice.ask<'farthest'>({ kind: 'farthest', centres, count: empty.length });
      return far.map(image => ({ ...image, index: slice.start + image.index }));
    });
    const farthest = parts.flat().sort((a, b) => b.distance - a.distance || a.index - b.index);
    await relocateEmpty(empty, farthest, image => this.#row(image), filled.sums, filled.sizes);
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

  async #row(index: number): Promise<Float32Array> {
    const { slices } = await this.#load();
    const slice = slices.find(({ end }) => index < end)!;
    return slice.ask<'row'>({ kind: 'row', index: index - slice.start });
  }

  /** Sums by parts of the squared distances that there would be with each row as a further centre. */
  async #try(drawn: readonly Located[], norms: Float64Array): Promise<Float64Array[]> {
    const { slices } = await this.#load();
    const rows = new Float32Array(drawn.length * this.#width);
    drawn.forEach(({ row }, t) => {
      rows.set(row, t * this.#width);
    });
    const answers = await all(slices, slice => {
      const places = Int32Array.from(drawn, ({ index }) => index - slice.start);
      const trial = { rows, norms: Float64Array.from(drawn, ({ index }) => norms[index]), places };
      return slice.ask<'try'>({ kind: 'try', trial });
    });
    return drawn.map((_, t) => {
      const parts = answers.map(answer => answer.subarray(...span(answer.length / drawn.length, t)));
      return joined(parts, Math.ceil(this.count / PART));
    });
  }

  /** Makes trial `kept` a centre, and gives for every value the first image at which the sum of all distances reaches it. */
  async #locate(kept: number, parts: Float64Array, values: readonly number[]): Promise<Located[]> {
    const { slices } = await this.#load();
    const wanted = values.map(value => {
      let part = 0;
      let before = 0;
      while (part < parts.length - 1 && before + parts[part] < value) before += parts[part++];
      return { part, value: value - before };
    });
    const located: Located[] = [];
    await all(slices, async slice => {
      const [first, end] = [slice.start / PART, slice.end / PART];
      const mine = [...wanted.keys()].filter(w => wanted[w].part >= first && wanted[w].part < end);
      const asked = mine.map(w => ({ part: wanted[w].part - first, value: wanted[w].value }));
      const found = await slice.ask<'locate'>({ kind: 'locate', kept, wanted: asked });
      found.forEach(({ index, row }, i) => {
        located[mine[i]] = { index: slice.start + index, row };
      });
    });
    return located;
  }
}

const all = <T>(slices: readonly Slice[], ask: (slice: Slice) => Promise<T>): Promise<T[]> =>
  Promise.all(slices.map(ask));
const span = (length: number, index: number): [number, number] => [index * length, (index + 1) * length];

function joined(parts: readonly Float64Array[], length: number): Float64Array {
  const whole = new Float64Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
