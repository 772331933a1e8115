/** The number of clusters (METHOD §4): three rounds of binary search for the peak of the silhouette. */
import { S3aError } from '../errors.ts';
import { random } from '../random.ts';
import { type Clustering, KMeans } from './kmeans/kmeans.ts';
import { type ComputeOptions, gatherRows, type Rows, rowsOf } from './row-pass.ts';
import { Silhouettes } from './silhouette.ts';
import { type Judged, type Verdict, verdictOf } from './silhouette-verdict.ts';

export interface EstimateOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** The least number of clusters; default 50. */
  low?: number;
  /** The greatest; default 2000, and never more than half of the images looked at. */
  high?: number;
  /** Images looked at; default 30,000, the least that METHOD §4 asks for where there are so many. */
  sample?: number;
  /**
   * Images whose silhouettes are averaged, each against all that are looked at; default 4,000. They are the same for every
   * k, so that what they have in common does not blur the comparison.
   */
  judged?: number;
  /** Starts of each k-means; default 3: a poor local optimum shifts the peak. */
  nInit?: number;
  /** Default 0. */
  seed?: number;
  onProgress?: (point: SilhouettePoint, round: number) => void;
}

export interface SilhouettePoint {
  readonly k: number;
  readonly silhouette: number;
}

export interface Estimate {
  readonly k: number;
  /** The result of each of the three rounds; the last is `k`. */
  readonly rounds: readonly number[];
  /** Everything that was tried, by rising k. */
  readonly curve: readonly SilhouettePoint[];
  /** Whether the peak stands out of the curve's own error; where it does not (`flat`), `k` means little. */
  readonly verdict: Verdict;
}

/**
 * Estimates the number of clusters in three rounds: [low, high] → K1, [low, K1] → K2, [K2, (K1 + K2) / 2] → K (METHOD §4).
 *
 * The method says "binary search" and no more; here every round halves its interval around the best of three inner points
 * (`searchPeak`), down to single numbers. No k is clustered twice, and every k starts from the first rows of the same
 * draws by k-means++, which costs less than draws of its own and lets neighbouring k differ by little else.
 * @param features [N, width], unit rows, in memory or where they are
 * @throws S3aError CLUSTERS when the range is empty or the images are too few for it.
 */
export async function estimateK(features: Float32Array | Rows, options: EstimateOptions): Promise<Estimate> {
  const { width, seed = 0, nInit = 3, low = 50, onProgress } = options;
  const rows = rowsOf(features, width, 'image features');
  const images = rows.count;
  const size = Math.min(images, options.sample ?? 30_000);
  const high = Math.min(options.high ?? 2000, Math.floor(size / 2));
  if (!(Number.isInteger(low) && low >= 2 && low <= high)) {
    const hint = 'Give the number of clusters with --k, or a smaller range.';
    throw new S3aError('CLUSTERS', `cannot search for ${low} to ${high} clusters in ${size} images`, hint);
  }
  const looked = size === images ? await rows.read(0, images) : await gatherRows(rows, sampleOf(images, size, seed));
  const kmeans = new KMeans(looked, width, options);
  const wanted = options.judged ?? 4000;
  const judged = wanted < size ? sampleOf(size, wanted, seed, 'judged') : undefined;
  const silhouettes = await Silhouettes.of(looked, width, { ...options, judged });
  const curve = new Map<number, Judged>();
  const starts = new NestedStarts(kmeans, nInit, seed, high);
  let round = 0;
  const silhouetteOf = async (k: number): Promise<number> => {
    const known = curve.get(k);
    if (known !== undefined) return known.silhouette;
    const { labels } = await starts.best(k);
    const one = new Set(labels).size < 2;
    const samples = one ? new Float64Array(silhouettes.judged.length).fill(-1) : await silhouettes.samples(labels);
    const silhouette = samples.reduce((a, b) => a + b) / samples.length;
    curve.set(k, { k, silhouette, samples });
    onProgress?.({ k, silhouette }, round);
    return silhouette;
  };
  try {
    round = 1;
    const k1 = await searchPeak(low, high, silhouetteOf);
    round = 2;
    const k2 = await searchPeak(low, k1, silhouetteOf);
    round = 3;
    const k3 = await searchPeak(k2, Math.floor((k1 + k2) / 2), silhouetteOf);
    const points = [...curve.values()].sort((a, b) => a.k - b.k);
    return {
      k: k3,
      rounds: [k1, k2, k3],
      curve: points.map(({ k, silhouette }) => ({ k, silhouette })),
      verdict: verdictOf(points, k3),
    };
  } finally {
    await kmeans.dispose();
    await silhouettes.dispose();
  }
}

/** Starts of k-means for any k: the first k rows of sequences by k-means++. */
class NestedStarts {
  readonly #kmeans: KMeans;
  readonly #count: number;
  readonly #seed: number;
  readonly #most: number;
  #sequences: Int32Array[] = [];

  constructor(kmeans: KMeans, count: number, seed: number, most: number) {
    this.#kmeans = kmeans;
    this.#count = Math.max(1, count);
    this.#seed = seed;
    this.#most = most;
  }

  /** The run of the lowest inertia; the first among equals. */
  async best(k: number): Promise<Clustering> {
    // A search rarely leaves the lower three quarters of its range; the rest is drawn only when it does.
    const first = Math.ceil(0.76 * this.#most);
    const length = k <= first ? first : this.#most;
    if ((this.#sequences[0]?.length ?? 0) < k) {
      this.#sequences = [];
      for (let start = 1; start <= this.#count; start++) {
        const uniform = random(this.#seed, 'estimate-k', 'start', start).next;
        this.#sequences.push(await this.#kmeans.plusPlus(length, uniform));
      }
    }
    let best: Clustering | undefined;
    for (const sequence of this.#sequences) {
      const run = await this.#kmeans.from(await this.#kmeans.rows(sequence.subarray(0, k)));
      if (!best || run.inertia < best.inertia) best = run;
    }
    return best!;
  }
}

/**
 * The integer in [low, high] at which a function is largest, if it rises and then falls; otherwise the best one met.
 *
 * Interval halving: of the middle and the two quarter points the best is kept with its neighbourhood, which is half of the
 * interval, and its value serves again as the next middle. The lower number wins among equals.
 */
export async function searchPeak(low: number, high: number, value: (k: number) => Promise<number>): Promise<number> {
  let [from, to] = [low, high];
  let best = { k: low, value: Number.NEGATIVE_INFINITY };
  const look = async (k: number): Promise<number> => {
    const found = await value(k);
    if (found > best.value || (found === best.value && k < best.k)) best = { k, value: found };
    return found;
  };
  while (to - from > 3) {
    const middle = (from + to) >> 1;
    const left = (from + middle) >> 1;
    const right = (middle + to + 1) >> 1;
    const [atLeft, atMiddle, atRight] = [await look(left), await look(middle), await look(right)];
    if (atLeft >= atMiddle) to = middle;
    else if (atRight > atMiddle) from = middle;
    else [from, to] = [left, right];
  }
  for (let k = from; k <= to; k++) await look(k);
  return best.k;
}

/** `size` of n indices in rising order, drawn without replacement. */
function sampleOf(n: number, size: number, seed: number, ...purpose: string[]): Int32Array {
  const order = random(seed, 'estimate-k', ...purpose).shuffle(Int32Array.from({ length: n }, (_, i) => i));
  return order.subarray(0, size).sort();
}
