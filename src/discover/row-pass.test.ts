/** Blocks and chunks must not show in the results. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mul, state, sum } from '../engine/index.ts';
import { blockRows, RowPass, takeRows } from './row-pass.ts';

test('any blocks and chunks give every row once, in order, of one matrix after the other', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 5 }),
      async (count, rows, chunk) => {
        const factor = state('factor', []);
        const sizes = new Set<number>();
        const pass = await RowPass.compile(
          { rows, width: 2, chunk },
          part => {
            sizes.add(part.shape[0]);
            return { total: sum(mul(part, factor), { axes: [1] }), all: mul(part, factor) };
          },
          { threads: 1 },
        );
        await pass.set({ factor: Float32Array.of(3) });
        for (const size of sizes) expect(size).toBeLessThanOrEqual(chunk);
        const matrix = Float32Array.from({ length: count * 2 }, (_, i) => i + 1);
        // The same one twice: the block that is there already is used again.
        for (const one of [matrix, matrix, matrix.map(value => -value), matrix]) {
          const seen: number[] = [];
          const totals = new Float32Array(count);
          await pass.run(one, (outputs, start, n) => {
            for (let i = 0; i < n; i++) {
              seen.push(start + i);
              totals[start + i] = outputs.total[i] as number;
              expect(outputs.all[2 * i]).toBe(one[2 * (start + i)] * 3);
            }
          });
          expect(seen).toEqual([...Array(count).keys()]);
          expect(totals).toBeAllclose(totals.map((_, i) => 3 * (one[2 * i] + one[2 * i + 1])));
        }
        await pass.dispose();
      },
    ),
    { numRuns: 8, seed: 1 },
  );
});

test('large matrices are cut into even blocks', () => {
  expect(blockRows(1000, 512)).toBe(1000);
  expect(blockRows(300_000, 512)).toBe(100_000);
  expect([...takeRows(Float32Array.of(1, 2, 3, 4, 5, 6), 2, [2, 0, 2])]).toEqual([5, 6, 1, 2, 5, 6]);
});
