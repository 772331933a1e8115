/** The WebAssembly kernel against plain loops. */
import { expect, test } from 'vitest';
import { random } from '../../random.ts';
import { GROUP, makeKernel, paddedWidth } from './kernel.ts';

test.each([1, 16, 45, 512])('products, sums and bytes of rows of %i values', width => {
  const padded = paddedWidth(width);
  const kernel = makeKernel(padded);
  kernel.memory.grow(2);
  const draw = random(1, 'kernel', width);
  const row = new Float32Array(kernel.memory.buffer, 1024, padded);
  const mean = new Float32Array(kernel.memory.buffer, 1024 + 4 * padded, padded);
  const centresAt = 1024 + 8 * padded;
  const centres = new Float32Array(kernel.memory.buffer, centresAt, GROUP * padded);
  const sumAt = centresAt + 4 * GROUP * padded;
  const sums = new Float64Array(kernel.memory.buffer, sumAt, padded);
  const bytesAt = sumAt + 8 * padded;
  const bytes = new Uint8Array(kernel.memory.buffer, bytesAt, padded);
  const out = new Float32Array(kernel.memory.buffer, 0, GROUP);
  for (let d = 0; d < width; d++) {
    row[d] = draw.normal();
    mean[d] = 0.1 * draw.normal();
    for (let c = 0; c < GROUP; c++) centres[c * padded + d] = draw.normal();
  }
  kernel.dots(1024, centresAt, 0);
  for (let c = 0; c < GROUP; c++) {
    const expected = row.reduce((sum, value, d) => sum + value * centres[c * padded + d], 0);
    expect([out[c]]).toBeAllclose([expected], { atol: 1e-6 * width, rtol: 0 });
    expect(kernel.dot(1024, centresAt + 4 * c * padded)).toBe(out[c]);
  }
  const products = [...out];
  const address = (c: number): number => centresAt + 4 * c * padded;
  kernel.dotsAt(1024, address(3), address(1), address(1), address(0), 0);
  expect([...out]).toEqual([products[3], products[1], products[1], products[0]]);
  kernel.pairAt(1024, address(2), address(0), 0);
  expect([...out.subarray(0, 2)]).toEqual([products[2], products[0]]);

  const square = row.reduce((sum, value) => sum + value * value, 0);
  expect([kernel.square(1024)]).toBeAllclose([square], { rtol: 1e-14 });

  // A grid of 2⁻¹⁰.
  const magic = 1.5 * 2 ** 42;
  const onGrid = [...row].map(value => Math.round(value * 1024) / 1024);
  kernel.add(1024, sumAt, magic, 1);
  kernel.add(1024, sumAt, magic, 1);
  expect([...sums]).toEqual(onGrid.map(value => 2 * value));
  kernel.add(1024, sumAt, magic, -1);
  expect([...sums]).toEqual(onGrid);

  const step = 0.02;
  kernel.quantise(1024, 1024 + 4 * padded, bytesAt, step, 127, 128, 0);
  let [squares, errors] = [0, 0];
  for (let d = 0; d < padded; d++) {
    const value = row[d] - mean[d];
    const kept = step * (bytes[d] - 128);
    // Half a step, unless the value is out of the range of bytes.
    if (Math.abs(value) < 126 * step) expect(Math.abs(value - kept)).toBeLessThanOrEqual(0.5001 * step);
    else expect(Math.abs(kept)).toBeGreaterThan(125.9 * step);
    squares += value ** 2;
    errors += (value - kept) ** 2;
  }
  expect([out[0], out[1]]).toBeAllclose([squares, errors], { rtol: 1e-4, atol: 1e-7 });
});

test('candidates are the scores within a margin of the greatest', () => {
  const kernel = makeKernel(16);
  const draw = random(2, 'candidates');
  for (const length of [4, 12, 100]) {
    const scores = new Float32Array(kernel.memory.buffer, 64, length);
    const found = new Int32Array(kernel.memory.buffer, 64 + 4 * length, length);
    for (const margin of [0, 0.5, 1e9]) {
      for (let at = 0; at < length; at++) scores[at] = Math.fround(Math.round(4 * draw.normal()) / 4);
      const top = Math.max(...scores);
      const count = kernel.candidates(64, 64 + 4 * length, margin, 64 + 4 * length);
      const expected = [...scores.keys()].filter(at => scores[at] >= top - margin);
      expect([...found.subarray(0, count)]).toEqual(expected);
    }
  }
});
