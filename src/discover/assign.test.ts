import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { random } from '../random.ts';
import { assign } from './assign.ts';

function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../test/goldens/${name}`, import.meta.url), 'utf8')) as T;
}

interface Case {
  name: string;
  rows: number;
  cols: number;
  at: number[];
  values: number[];
  columns: number[];
  sum: number;
}

const sumOf = (score: Float64Array, cols: number, columns: Int32Array): number =>
  columns.reduce((sum, column, row) => sum + (column < 0 ? 0 : score[row * cols + column]), 0);

describe('against scipy.optimize.linear_sum_assignment', () => {
  test.each(golden<Case[]>('assign.json'))(
    '$name ($rows × $cols): the same matching',
    ({ rows, cols, at, values, columns, sum }) => {
      const score = new Float64Array(rows * cols);
      at.forEach((position, i) => {
        score[position] = values[i];
      });
      const result = assign(score, rows, cols);
      // 1e-12: the same numbers added in another order.
      expect(sumOf(score, cols, result)).toBeCloseTo(sum, 12);
      expect([...result]).toEqual(columns);
    },
  );

  test('300 small matrices full of ties and zeros: the same matchings', () => {
    for (const { score, columns } of golden<{ score: string[]; columns: number[] }[]>('assign-small.json')) {
      const flat = Float64Array.from([...score.join('')].map(Number));
      expect([...assign(flat, score.length, score[0].length)]).toEqual(columns);
    }
  });
});

test('is never beaten by any permutation', () => {
  const matrix = fc
    .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))
    .chain(([rows, cols]) =>
      fc.tuple(
        fc.constant(rows),
        fc.constant(cols),
        fc.array(fc.integer({ min: -4, max: 4 }), { minLength: rows * cols, maxLength: rows * cols }),
      ),
    );
  fc.assert(
    fc.property(matrix, ([rows, cols, values]) => {
      const score = Float64Array.from(values);
      const result = assign(score, rows, cols);
      const taken = [...result].filter(column => column >= 0);
      expect(new Set(taken).size).toBe(Math.min(rows, cols));
      expect(taken).toHaveLength(Math.min(rows, cols));
      expect(sumOf(score, cols, result)).toBe(best(score, rows, cols));
    }),
    { seed: 1 },
  );
});

/** The greatest sum by trying everything. */
function best(
  score: Float64Array,
  rows: number,
  cols: number,
  row = 0,
  used = 0,
  skip = Math.max(0, rows - cols),
): number {
  if (row === rows) return 0;
  let result = skip > 0 ? best(score, rows, cols, row + 1, used, skip - 1) : Number.NEGATIVE_INFINITY;
  for (let j = 0; j < cols; j++) {
    if (used & (1 << j)) continue;
    result = Math.max(result, score[row * cols + j] + best(score, rows, cols, row + 1, used | (1 << j), skip));
  }
  return result;
}

test('empty matrices', () => {
  expect([...assign(new Float64Array(), 0, 5)]).toEqual([]);
  expect([...assign(new Float64Array(), 3, 0)]).toEqual([-1, -1, -1]);
});

test('sizes that do not fit and scores that are not finite are refused', () => {
  expect(() => assign(new Float64Array(5), 2, 3)).toThrow('5 scores are not 2 rows of 3 columns');
  expect(() => assign(Float64Array.from([0, 0, 0, Number.NaN]), 2, 2)).toThrow('the score of row 1, column 1 is NaN');
});

test('1,000 clusters and 20,071 names with votes for a few names each take seconds at most', () => {
  const rows = 1000;
  const cols = 20071;
  const score = new Float64Array(rows * cols);
  const key = random(0, 'assign');
  for (let i = 0; i < rows; i++) for (let n = 0; n < 50; n++) score[i * cols + key.int(n < 30 ? 600 : 6000)] += 1 / 50;
  const start = performance.now();
  const result = assign(score, rows, cols);
  // About 0.3 s on a quiet core; the bound only tells an algorithm that walks all names from one that does not.
  expect(performance.now() - start).toBeLessThan(5000);
  expect(new Set(result).size).toBe(rows);
});
