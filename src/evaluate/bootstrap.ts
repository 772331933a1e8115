/** Confidence intervals by resampling the images (bootstrap), and the spread over seeds. */
import { S3aError } from '../errors.ts';
import { type Random, random } from '../random.ts';
import { resampler } from './binomial.ts';
import { normalCdf, normalQuantile, studentTwoSided } from './distributions.ts';

/** `wilson` stands for a share that is 0 or 1, of which resampling can say nothing. */
export type IntervalMethod = 'bca' | 'percentile' | 'wilson';

export interface Interval {
  estimate: number;
  low: number;
  high: number;
  /** Standard deviation of the estimate over the resamples. */
  standardError: number;
  /** How `low` and `high` were found; `percentile` also where the correction of `bca` is not defined. */
  method: IntervalMethod;
}

export interface BootstrapOptions {
  seed?: number;
  /** Default 10,000. */
  resamples?: number;
  /** Probability that the interval is to cover; default 0.95. */
  level?: number;
  /** Default `bca`: bias-corrected and accelerated. */
  method?: 'bca' | 'percentile';
}

/** The statistic without one image, and how many images give that value. */
export interface Without {
  value: number;
  weight: number;
}

const MAX_RESAMPLES = 1_000_000;

/**
 * The interval of a statistic of images that fall into cells: `counts` are the images of each cell, `statistic` takes such counts.
 *
 * Images are resampled with replacement; as only their cells matter, the counts are drawn (multinomial), in a time that depends on
 * the number of cells and not on that of images. BCa as Efron, "Better Bootstrap Confidence Intervals", 1987, with the jackknife's
 * acceleration; both methods as scipy.stats.bootstrap computes them.
 *
 * Throws S3aError EVALUATE when there are no images, VALUE for options or counts that cannot be meant.
 * @param left the statistic without an image of each cell, where that is known faster than by taking it again
 */
export function bootstrapCounts(
  counts: ArrayLike<number>,
  statistic: (counts: Float64Array) => number,
  options: BootstrapOptions = {},
  left?: () => Without[],
): Interval {
  const cells = Float64Array.from(counts);
  const images = checkCounts(cells);
  const again = (): Without[] =>
    Array.from(cells, (weight, i) => {
      if (weight === 0 || images === 1) return { value: 0, weight: 0 };
      const rest = cells.slice();
      rest[i]--;
      return { value: statistic(rest), weight };
    });
  return bootstrap(cells, images, statistic, left ?? again, options);
}

function bootstrap(
  cells: Float64Array,
  images: number,
  statistic: (counts: Float64Array) => number,
  left: () => Without[],
  options: BootstrapOptions,
): Interval {
  const { generator, resamples } = checkOptions(options);
  const resample = resampler(cells, images, generator);
  const out = new Float64Array(cells.length);
  const distribution = Float64Array.from({ length: resamples }, () => {
    resample(out);
    return statistic(out);
  });
  return intervalOf(distribution, statistic(cells), options.method === 'percentile' ? [] : left(), options);
}

/**
 * The interval of a share, such as an accuracy: `right` of `images` images.
 *
 * Where all or none are right every resample is alike, so Wilson's interval is given (Wilson 1927).
 *
 * Throws as `bootstrapCounts`.
 */
export function bootstrapShare(right: number, images: number, options: BootstrapOptions = {}): Interval {
  checkOptions(options);
  const counts = [right, images - right];
  checkCounts(Float64Array.from(counts));
  if (right > 0 && right < images) return bootstrapCounts(counts, ([hit, miss]) => hit / (hit + miss), options);
  const square = normalQuantile((1 + (options.level ?? 0.95)) / 2) ** 2;
  const width = square / (images + square);
  const [low, high] = right === 0 ? [0, width] : [1 - width, 1];
  return { estimate: right / images, low, high, standardError: 0, method: 'wilson' };
}

/**
 * The interval of the mean of a value that each image has, such as a semantic score.
 *
 * Throws as `bootstrapCounts`, and VALUE for a value that is not finite.
 */
export function bootstrapMean(values: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  const distinct = new Map<number, number>();
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) throw new S3aError('VALUE', `the value ${values[i]} of image ${i} is not finite`);
    distinct.set(values[i], (distinct.get(values[i]) ?? 0) + 1);
  }
  const cells = Float64Array.from(distinct.keys());
  const mean = (counts: Float64Array): number => {
    let [sum, images] = [0, 0];
    for (let i = 0; i < cells.length; i++) {
      sum += counts[i] * cells[i];
      images += counts[i];
    }
    return sum / images;
  };
  const counts = Float64Array.from(distinct.values());
  const images = checkCounts(counts);
  const total = mean(counts) * images;
  const left = (): Without[] =>
    Array.from(cells, (value, i) => ({ value: (total - value) / (images - 1), weight: counts[i] }));
  return bootstrap(counts, images, mean, left, options);
}

/**
 * The interval from the values of a statistic on resamples.
 * @param left the statistic without one image, for each image; needed for `bca`
 */
export function intervalOf(
  distribution: Float64Array,
  estimate: number,
  left: readonly Without[],
  { level = 0.95, method = 'bca' }: BootstrapOptions = {},
): Interval {
  const sorted = distribution.toSorted();
  const tails = [(1 - level) / 2, (1 + level) / 2];
  const corrected = method === 'bca' ? correct(tails, sorted, estimate, left) : undefined;
  const [low, high] = (corrected ?? tails).map(share => quantile(sorted, share));
  const mean = sum(sorted) / sorted.length;
  const standardError = Math.sqrt(sum(sorted.map(value => (value - mean) ** 2)) / (sorted.length - 1));
  return { estimate, low, high, standardError, method: corrected ? 'bca' : 'percentile' };
}

/** The tails moved for bias and skewness; undefined where that is not defined, as when all resamples agree. */
function correct(
  tails: readonly number[],
  sorted: Float64Array,
  estimate: number,
  left: readonly Without[],
): number[] | undefined {
  let [below, equal] = [0, 0];
  for (const value of sorted) {
    if (value < estimate) below++;
    else if (value === estimate) equal++;
  }
  const bias = normalQuantile((below + equal / 2) / sorted.length);
  const images = sum(left.map(({ weight }) => weight));
  const mean = sum(left.map(({ value, weight }) => value * weight)) / images;
  const moment = (power: number): number => sum(left.map(({ value, weight }) => weight * (mean - value) ** power));
  const acceleration = moment(3) / (6 * moment(2) ** 1.5);
  const moved = tails.map(tail => {
    const z = bias + normalQuantile(tail);
    return normalCdf(bias + z / (1 - acceleration * z));
  });
  return moved.every(Number.isFinite) ? moved : undefined;
}

/** numpy.quantile's linear interpolation. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/** Several runs that differ in their seed alone. */
export interface Spread {
  runs: number;
  mean: number;
  /** Standard deviation of one run, with runs − 1; undefined for a single run, as the interval. */
  sd: number | undefined;
  /** The interval of the mean by Student's t. */
  low: number | undefined;
  high: number | undefined;
}

/**
 * Mean, standard deviation and t interval of one figure over seeds.
 *
 * Throws S3aError EVALUATE when there is no run, VALUE for a figure that is not finite or a level outside 0–1.
 */
export function spreadOverSeeds(values: readonly number[], level = 0.95): Spread {
  const runs = values.length;
  if (runs === 0) throw new S3aError('EVALUATE', 'there are no runs to compare');
  const odd = values.find(value => !Number.isFinite(value));
  if (odd !== undefined) throw new S3aError('VALUE', `the figure ${odd} of a run is not finite`);
  const mean = sum(values) / runs;
  if (runs === 1) return { runs, mean, sd: undefined, low: undefined, high: undefined };
  const sd = Math.sqrt(sum(values.map(value => (value - mean) ** 2)) / (runs - 1));
  const half = (studentTwoSided(level, runs - 1) * sd) / Math.sqrt(runs);
  return { runs, mean, sd, low: mean - half, high: mean + half };
}

function checkCounts(counts: Float64Array): number {
  const bad = counts.find(count => !(Number.isSafeInteger(count) && count >= 0));
  if (bad !== undefined) throw new S3aError('VALUE', `${bad} is no number of images`);
  const images = sum(counts);
  if (images === 0) throw new S3aError('EVALUATE', 'there are no images to evaluate');
  return images;
}

function checkOptions({ seed = 0, resamples = 10_000, level = 0.95 }: BootstrapOptions): {
  generator: Random;
  resamples: number;
} {
  if (!(Number.isInteger(resamples) && resamples >= 2 && resamples <= MAX_RESAMPLES)) {
    throw new S3aError('VALUE', `${resamples} resamples`, `Use a whole number from 2 to ${MAX_RESAMPLES}.`);
  }
  if (!(level > 0 && level < 1)) throw new S3aError('VALUE', `the level ${level} is not between 0 and 1`);
  return { generator: random(seed, 'bootstrap'), resamples };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
