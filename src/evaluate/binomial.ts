/** Random binomial and multinomial counts in a time that does not grow with them. */
import type { Random } from '../random.ts';

/**
 * The number of successes in `trials` that each succeed with probability `p`.
 *
 * Inversion of waiting times where few are expected, else the transformed rejection BTRS of Hörmann, "The generation of binomial
 * random variates", 1993.
 */
export function binomial(trials: number, p: number, generator: Random): number {
  if (trials <= 0 || p <= 0) return 0;
  if (p >= 1) return trials;
  if (p > 0.5) return trials - binomial(trials, 1 - p, generator);
  return trials * p < 10 ? byWaiting(trials, p, generator) : byRejection(trials, p, generator);
}

/**
 * A function that draws as many items as `counts` hold, with replacement, and counts them by cell into its argument: a bootstrap
 * resample of images that are told apart only by their cell.
 */
export function resampler(counts: Float64Array, images: number, generator: Random): (out: Float64Array) => void {
  // One draw an image is cheaper than a count a cell when most cells hold a single image.
  if (counts.length * 3 > images) {
    const cellOf = new Int32Array(images);
    let at = 0;
    counts.forEach((count, cell) => {
      cellOf.fill(cell, at, at + count);
      at += count;
    });
    return out => {
      out.fill(0);
      for (let i = 0; i < images; i++) out[cellOf[generator.int(images)]]++;
    };
  }
  return out => {
    let [draws, rest] = [images, images];
    for (let i = 0; i < counts.length; i++) {
      const drawn = rest === 0 ? 0 : binomial(draws, counts[i] / rest, generator);
      out[i] = drawn;
      draws -= drawn;
      rest -= counts[i];
    }
  };
}

function byWaiting(trials: number, p: number, generator: Random): number {
  const scale = Math.log1p(-p);
  let successes = 0;
  for (let at = 0; ; successes++) {
    at += Math.floor(Math.log(1 - generator.next()) / scale) + 1;
    if (at > trials) return successes;
  }
}

function byRejection(n: number, p: number, generator: Random): number {
  const deviation = Math.sqrt(n * p * (1 - p));
  const b = 1.15 + 2.53 * deviation;
  const a = -0.0873 + 0.0248 * b + 0.01 * p;
  const alpha = (2.83 + 5.1 / b) * deviation;
  const ratio = p / (1 - p);
  const mode = Math.floor((n + 1) * p);
  for (;;) {
    const u = generator.next() - 0.5;
    const v = generator.next();
    const edge = 0.5 - Math.abs(u);
    const k = Math.floor(((2 * a) / edge + b) * u + n * p + 0.5);
    if (k < 0 || k > n) continue;
    // Inside the box that lies under the curve.
    if (edge >= 0.07 && v <= 0.92 - 4.2 / b) return k;
    const bound =
      (mode + 0.5) * Math.log((mode + 1) / (ratio * (n - mode + 1))) +
      (n + 1) * Math.log((n - mode + 1) / (n - k + 1)) +
      (k + 0.5) * Math.log((ratio * (n - k + 1)) / (k + 1)) +
      stirling(mode) +
      stirling(n - mode) -
      stirling(k) -
      stirling(n - k);
    if (Math.log((v * alpha) / (a / (edge * edge) + b)) <= bound) return k;
  }
}

const STIRLING = [
  0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
  0.0138761288230707, 0.0118967099458917, 0.010411265261972, 0.00925546218271273, 0.00833056343336287,
];

/** What Stirling's formula lacks of log k!. */
function stirling(k: number): number {
  if (k < STIRLING.length) return STIRLING[k];
  const square = (k + 1) * (k + 1);
  return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1);
}
