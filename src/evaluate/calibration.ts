/** Whether confidences mean what they say: reliability bins and the expected calibration error. */
import { S3aError } from '../errors.ts';

/** Images whose confidences lie in (low, high], the first bin with its lower end. */
export interface ReliabilityBin {
  low: number;
  high: number;
  images: number;
  /** Mean confidence of its images; NaN for none, as `accuracy`. */
  confidence: number;
  /** Share of its images that are right. */
  accuracy: number;
}

export interface CalibrationReport {
  images: number;
  /** Mean confidence of all images. */
  confidence: number;
  /** Share of all images that are right. */
  accuracy: number;
  /** Expected calibration error: the gap between confidence and accuracy, averaged over the images of the bins. */
  ece: number;
  /** The largest gap of a bin. */
  mce: number;
  /** Mean squared difference between confidence and being right (Brier's score of the given name alone). */
  brier: number;
  bins: ReliabilityBin[];
}

export interface CalibrationOptions {
  /** Number of bins; default 15, as Guo et al. 2017. */
  bins?: number;
  /** Bins of equal width, or with the quantiles of the confidences as their ends, so that all hold about as many images. */
  strategy?: 'width' | 'mass';
}

const MAX_BINS = 100_000;

/**
 * Compares confidences (0–1) with what came true: `right[i]` is true or 1 where image i was right.
 *
 * The expected calibration error is that of Guo et al., "On Calibration of Modern Neural Networks", 2017; the bins are those of
 * scikit-learn's `calibration_curve`.
 *
 * Throws S3aError SHAPE when the lengths differ, VALUE for a confidence outside 0–1 or a number of bins that is none, EVALUATE
 * when there are no images.
 */
export function calibration(
  confidences: ArrayLike<number>,
  right: ArrayLike<boolean | number>,
  { bins: count = 15, strategy = 'width' }: CalibrationOptions = {},
): CalibrationReport {
  const images = confidences.length;
  if (right.length !== images) {
    throw new S3aError('SHAPE', `calibration: ${images} confidences for ${right.length} images`);
  }
  if (images === 0) throw new S3aError('EVALUATE', 'there are no images to evaluate');
  if (!(Number.isInteger(count) && count >= 1 && count <= MAX_BINS)) {
    throw new S3aError('VALUE', `calibration: ${count} bins`, `Use a whole number from 1 to ${MAX_BINS}.`);
  }
  for (let i = 0; i < images; i++) {
    if (!(confidences[i] >= 0 && confidences[i] <= 1)) {
      throw new S3aError('VALUE', `calibration: the confidence ${confidences[i]} of image ${i} is not between 0 and 1`);
    }
  }
  const edges = strategy === 'width' ? equalWidths(count) : quantiles(confidences, count);
  const sums = edges.slice(1).map(() => ({ images: 0, confidence: 0, right: 0 }));
  let squares = 0;
  for (let i = 0; i < images; i++) {
    const bin = sums[binOf(edges, confidences[i])];
    const hit = right[i] ? 1 : 0;
    bin.images++;
    bin.confidence += confidences[i];
    bin.right += hit;
    squares += (confidences[i] - hit) ** 2;
  }
  const gaps = sums.map(bin => Math.abs(bin.confidence - bin.right));
  return {
    images,
    confidence: total(sums.map(bin => bin.confidence)) / images,
    accuracy: total(sums.map(bin => bin.right)) / images,
    ece: total(gaps) / images,
    mce: Math.max(...gaps.map((gap, i) => (sums[i].images > 0 ? gap / sums[i].images : 0))),
    brier: squares / images,
    bins: sums.map((bin, i) => ({
      low: edges[i],
      high: edges[i + 1],
      images: bin.images,
      confidence: bin.confidence / bin.images,
      accuracy: bin.right / bin.images,
    })),
  };
}

function equalWidths(count: number): number[] {
  return Array.from({ length: count + 1 }, (_, i) => i / count);
}

/** The ends of bins of about as many images each; numpy.percentile's linear interpolation. */
function quantiles(values: ArrayLike<number>, count: number): number[] {
  const sorted = Float64Array.from(values).sort();
  return equalWidths(count).map(share => {
    const at = share * (sorted.length - 1);
    const below = Math.floor(at);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
  });
}

/** The number of inner edges that are less than the value. */
function binOf(edges: readonly number[], value: number): number {
  let [low, high] = [1, edges.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
