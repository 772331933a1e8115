/** The 8-bit product against plain loops: its limits must hold for every pair. */
import { expect, test } from 'vitest';
import { random } from '../../random.ts';
import { filterTable, ScoreFilter } from './filter.ts';
import { GROUP } from './kernel.ts';

test('the best score of every group lies within its limits', async () => {
  const [width, rows, groups, count] = [48, 21, 3, 20];
  const draw = random(1, 'filter');
  const table = Array.from({ length: count }, () => Float32Array.from({ length: width }, () => draw.normal()));
  const biases = table.map(() => draw.normal());
  const filter = await ScoreFilter.open(width, GROUP);
  const rounded = filterTable(groups, GROUP, width, slot =>
    slot < count ? { values: Float64Array.from(table[slot]), bias: biases[slot] } : undefined,
  );
  const step = 4 / filter.most;
  const bytes = new Uint8Array(rows * width);
  const images = Array.from({ length: rows }, (_, i) =>
    Float32Array.from({ length: width }, (_, d) => {
      const value = draw.normal();
      const byte = Math.max(-filter.most, Math.min(filter.most, Math.round(value / step)));
      bytes[i * width + d] = byte + filter.zero;
      return value;
    }),
  );
  const best = await filter.best(bytes, rows, step, rounded);
  expect(best.length).toBe(rows * groups);
  const scores = new Float32Array(rows * groups * GROUP);
  expect(await filter.best(bytes, rows, step, rounded, scores)).toEqual(best);
  const alone = scores.slice().fill(0);
  await filter.all(bytes, rows, step, rounded, alone);
  expect(alone).toEqual(scores);
  for (let at = 0; at < best.length; at++) {
    const [row, group] = [Math.floor(at / groups), at % groups];
    const members = Array.from({ length: GROUP }, (_, m) => scores[(row * GROUP + m) * groups + group]);
    expect(Math.max(...members)).toBe(best[at]);
  }
  const length = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));
  let widest = 0;
  for (let i = 0; i < rows; i++) {
    const error = length(images[i].map((value, d) => value - step * (bytes[i * width + d] - filter.zero)));
    for (let g = 0; g < groups; g++) {
      const members = table.slice(g * GROUP, (g + 1) * GROUP);
      const scores = members.map((row, m) =>
        row.reduce((sum, value, d) => sum + value * images[i][d], biases[g * GROUP + m]),
      );
      const limit = error * rounded.lengths[g] + length(images[i]) * rounded.errors[g] + 1e-5;
      expect(Math.abs(best[i * groups + g] - Math.max(...scores))).toBeLessThanOrEqual(limit);
      widest = Math.max(widest, limit / length(images[i]));
    }
  }
  // Lengths of about 7: the limits are of use.
  expect(widest).toBeLessThan(0.3);
});
