/** The vectors of resampling against one weight after the other. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pattern } from '../../test/images.ts';
import { random } from '../random.ts';
import type { RgbImage } from './image.ts';
import { resample, type Weights } from './resample.ts';
import { PRECISION } from './resize-kernel.ts';

/** Weights of `n` outputs: from 1 to 19 taps each, of any sign, that add up to about one. */
function drawWeights(source: number, n: number, seed: number): Weights {
  const draws = random(seed, 'weights');
  const [first, count] = [new Int32Array(n), new Int32Array(n)];
  const stride = 19;
  const values = new Int32Array(n * stride);
  for (let i = 0; i < n; i++) {
    // Neither begins nor ends move back, as with every filter.
    const end = Math.max(first[i - 1] + count[i - 1] || 1, Math.ceil(((i + 1) * source) / n));
    first[i] = Math.max(first[i - 1] || 0, end - 1 - draws.int(stride));
    count[i] = end - first[i];
    for (let k = 0; k < count[i]; k++)
      values[i * stride + k] = (draws.uniform(-0.3, 1) / count[i]) * 2 ** (PRECISION + 1);
  }
  return { first, count, values, stride };
}

/** The weighted sum of the values that `at` gives, as Pillow rounds and clips it. */
function sumOf({ first, count, values, stride }: Weights, i: number, at: (source: number) => number): number {
  let sum = 1 << (PRECISION - 1);
  for (let k = 0; k < count[i]; k++) sum = (sum + Math.imul(at(first[i] + k), values[i * stride + k])) | 0;
  return Math.min(255, Math.max(0, sum >> PRECISION));
}

function plain(image: RgbImage, width: number, height: number, columns?: Weights, rows?: Weights): number[] {
  const value = (x: number, y: number, c: number): number => image.data[(y * image.width + x) * 3 + c];
  const across = (x: number, y: number, c: number): number =>
    columns ? sumOf(columns, x, source => value(source, y, c)) : value(x, y, c);
  const pixels = Array.from({ length: width * height * 3 }, (_, i) => [
    Math.floor(i / 3) % width,
    Math.floor(i / 3 / width),
    i % 3,
  ]);
  return pixels.map(([x, y, c]) => (rows ? sumOf(rows, y, source => across(x, source, c)) : across(x, y, c)));
}

it('gives the sums of plain loops for any weights, with rows and columns or without', () => {
  const side = fc.integer({ min: 1, max: 45 });
  const passes = fc.record({ across: fc.boolean(), down: fc.boolean(), seed: fc.nat(1e6) });
  fc.assert(
    fc.property(side, side, side, side, passes, (w, h, toWidth, toHeight, { across, down, seed }) => {
      const image = pattern(w, h);
      const [width, height] = [across ? toWidth : w, down ? toHeight : h];
      const columns = across ? drawWeights(w, width, seed) : undefined;
      const rows = down ? drawWeights(h, height, seed + 1) : undefined;
      const region = { x: 0, y: 0, width: w, height: h };
      const result = resample(image, region, { x: 0, y: 0, width, height }, columns, rows);
      expect([...result.data]).toEqual(plain(image, width, height, columns, rows));
    }),
    { numRuns: 150, seed: 1 },
  );
});

it('takes rows in strips, and rows of shared memory', () => {
  // Two rows are already more than a strip.
  const image = pattern(50_000, 5);
  const [columns, rows] = [drawWeights(50_000, 30, 3), drawWeights(5, 4, 4)];
  const region = { x: 0, y: 0, width: 50_000, height: 5 };
  const window = { x: 0, y: 0, width: 30, height: 4 };
  const expected = plain(image, 30, 4, columns, rows);
  expect([...resample(image, region, window, columns, rows).data]).toEqual(expected);
  for (const offset of [0, 3, 5]) {
    const data = new Uint8Array(new SharedArrayBuffer(image.data.length + offset), offset);
    data.set(image.data);
    expect([...resample({ ...image, data }, region, window, columns, rows).data]).toEqual(expected);
  }
});
