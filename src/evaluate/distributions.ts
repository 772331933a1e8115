/** The normal and Student's t distribution, as far as confidence intervals need them. */
import { S3aError } from '../errors.ts';

/** Probability that a standard normal number is at most `x`; relative error about 1e-12. */
export function normalCdf(x: number): number {
  return 0.5 * erfc(-x / Math.SQRT2);
}

/** The `x` that a standard normal number is at most with probability `p`; ±Infinity at 0 and 1, NaN outside. */
export function normalQuantile(p: number): number {
  if (!(p >= 0 && p <= 1)) return Number.NaN;
  if (p === 0 || p === 1) return p === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (p > 0.5) return -normalQuantile(1 - p);
  // Abramowitz & Stegun 26.2.23, good to 4.5e-4; each step of Halley's method triples the digits.
  const t = Math.sqrt(-2 * Math.log(p));
  let x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
  for (let i = 0; i < 3; i++) {
    const step = ((normalCdf(x) - p) * Math.sqrt(2 * Math.PI)) / Math.exp(-(x * x) / 2);
    x -= step / (1 + (x * step) / 2);
  }
  return x;
}

/**
 * The `t` within which a number of Student's distribution lies on both sides with probability `level`.
 *
 * Throws S3aError VALUE for degrees of freedom that are no whole number from 1, or a level outside 0–1.
 */
export function studentTwoSided(level: number, degrees: number): number {
  if (!(Number.isInteger(degrees) && degrees >= 1)) {
    throw new S3aError('VALUE', `${degrees} is no number of degrees of freedom`, 'Use a whole number from 1.');
  }
  if (!(level > 0 && level < 1)) throw new S3aError('VALUE', `the level ${level} is not between 0 and 1`);
  // In the angle of t = √degrees · tan, the whole line is an interval that can be halved.
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (within(middle, degrees) < level) low = middle;
    else high = middle;
  }
  return Math.sqrt(degrees) * Math.tan((low + high) / 2);
}

/** P(|T| ≤ √degrees · tan θ) as the finite sums of Abramowitz & Stegun 26.7.3 and 26.7.4. */
function within(theta: number, degrees: number): number {
  const [sine, cosine] = [Math.sin(theta), Math.cos(theta)];
  const odd = degrees % 2 === 1;
  let term = odd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let power = odd ? 3 : 2; power <= degrees - 2; power += 2) {
    term *= (cosine * cosine * (power - 1)) / power;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (theta + sine * sum) : sine * sum;
}

/** The complementary error function. */
function erfc(z: number): number {
  if (z < 0) return 2 - erfc(-z);
  const scale = Math.exp(-z * z) / Math.sqrt(Math.PI);
  if (z < 2.5) {
    // Abramowitz & Stegun 7.1.6: all terms positive.
    let term = 2 * z;
    let sum = term;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    return 1 - scale * sum;
  }
  // Abramowitz & Stegun 7.1.14, from its far end.
  let fraction = z;
  for (let n = 80; n >= 1; n--) fraction = z + n / 2 / fraction;
  return scale / fraction;
}
