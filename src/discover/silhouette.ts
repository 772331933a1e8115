/** Silhouettes of a clustering on the engine (METHOD §4), by Euclidean distances as scikit-learn has them. */
import { add, matMul, maximum, mul, reshape, sqrt, square, state, sub, sum } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import { type ComputeOptions, RowPass, rowCount, takeRows } from './row-pass.ts';
import { partitionOf } from './vote.ts';

// Distances of a block: 32 MB.
const MOST_DISTANCES = 2 ** 23;

/** The images of one data set, whose clusterings are judged; distances are compiled once and computed anew each time. */
export class Silhouettes {
  readonly count: number;
  /** The images that are judged, by rising index; each against all others. */
  readonly judged: Int32Array;
  readonly #pass: RowPass;
  readonly #rows: Float32Array;

  private constructor(count: number, judged: Int32Array, pass: RowPass, rows: Float32Array) {
    this.count = count;
    this.judged = judged;
    this.#pass = pass;
    this.#rows = rows;
  }

  /**
   * @param features [N, width], unit rows; must not change while this lives
   * @param options `judged` are the images whose silhouettes are wanted, by default all
   * @throws S3aError SHAPE when the sizes do not fit.
   */
  static async of(
    features: Float32Array,
    width: number,
    { judged, ...options }: ComputeOptions & { judged?: Int32Array } = {},
  ): Promise<Silhouettes> {
    const n = rowCount(features, width, 'image features');
    const wanted = judged ?? Int32Array.from({ length: n }, (_, i) => i);
    // The distances come out whole, so a block is as small as a chunk would be.
    const rows = Math.ceil(wanted.length / Math.ceil((wanted.length * n) / MOST_DISTANCES));
    const all = state('all', [n, width]);
    const pass = await RowPass.compile(
      { rows, width, chunk: rows },
      block => {
        const products = matMul(block, all, { transB: true });
        const norms = sum(square(block), { axes: [1], keepdims: true });
        const others = reshape(sum(square(all), { axes: [1] }), [1, n]);
        return { distances: sqrt(maximum(sub(add(norms, others), mul(products, 2)), 0)) };
      },
      options,
    );
    await pass.set({ all: features });
    return new Silhouettes(n, wanted, pass, judged ? takeRows(features, width, judged) : features);
  }

  /**
   * The silhouette of every image that is judged: (b − a) / max(a, b) with a its mean distance to the rest of its cluster and b the least
   * mean distance to another cluster; 0 for an image that is a cluster of its own.
   * @param labels [N] any integers
   * @throws S3aError CLUSTERS when there are not 2 to N − 1 clusters.
   */
  async samples(labels: Int32Array): Promise<Float64Array> {
    const n = this.count;
    const { clusters, count } = partitionOf(labels);
    if (labels.length !== n) throw new S3aError('SHAPE', `silhouette: ${labels.length} labels for ${n} images`);
    if (count < 2 || count >= n) {
      throw new S3aError('CLUSTERS', `silhouette: ${count} clusters of ${n} images; it needs 2 to ${n - 1}`);
    }
    const sizes = new Int32Array(count);
    for (const cluster of clusters) sizes[cluster]++;
    const scores = new Float64Array(this.judged.length);
    const sums = new Float64Array(count);
    await this.#pass.run(this.#rows, ({ distances }, start, rows) => {
      const flat = distances as Float32Array;
      for (let at = start; at < start + rows; at++) {
        sums.fill(0);
        const i = this.judged[at];
        const row = (at - start) * n;
        for (let j = 0; j < n; j++) sums[clusters[j]] += flat[row + j];
        const own = clusters[i];
        // The distance to itself is zero, whatever rounding makes of it.
        const within = (sums[own] - flat[row + i]) / (sizes[own] - 1);
        let between = Number.POSITIVE_INFINITY;
        for (let c = 0; c < count; c++) if (c !== own) between = Math.min(between, sums[c] / sizes[c]);
        const larger = Math.max(within, between);
        scores[at] = sizes[own] === 1 || larger === 0 ? 0 : (between - within) / larger;
      }
    });
    return scores;
  }

  dispose(): Promise<void> {
    return this.#pass.dispose();
  }
}
