/** The sparse solver against the dense one, which is scipy's, tie by tie. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assignmentsRecord } from '../../test/discover-goldens.ts';
import { random } from '../random.ts';
import { assign } from './assign.ts';
import { assignSparse, type SparseScores } from './assign-sparse.ts';

function denseOf(rows: readonly SparseScores[], cols: number): Float64Array {
  const matrix = new Float64Array(rows.length * cols);
  for (const [row, { names, scores }] of rows.entries()) {
    names.forEach((name, e) => {
      matrix[row * cols + name] = scores[e];
    });
  }
  return matrix;
}

/** Rows of votes: counts of a few names by a cluster's size, often equal ones. */
function votes(seed: number, rows: number, cols: number, images: number, popular: number): SparseScores[] {
  const draw = random(seed, 'votes');
  return Array.from({ length: rows }, () => {
    const counts = new Map<number, number>();
    const size = 1 + draw.int(images);
    for (let n = 0; n < size; n++) {
      const name = draw.int(draw.next() < 0.6 ? popular : cols);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const names = Int32Array.from([...counts.keys()].sort((a, b) => a - b));
    return { names, scores: Float64Array.from(names, name => counts.get(name)! / size) };
  });
}

describe('the same matching as the dense solver', () => {
  test.each([
    { rows: 1, cols: 4, images: 3, popular: 2 },
    { rows: 6, cols: 40, images: 5, popular: 4 },
    { rows: 20, cols: 300, images: 12, popular: 9 },
    { rows: 60, cols: 300, images: 8, popular: 30 },
    { rows: 100, cols: 2500, images: 30, popular: 60 },
  ])('$rows × $cols, $popular popular names', ({ rows, cols, images, popular }) => {
    for (let seed = 0; seed < 60; seed++) {
      const drawn = votes(seed, rows, cols, images, popular);
      expect([...assignSparse(drawn, cols)]).toEqual([...assign(denseOf(drawn, cols), rows, cols)]);
    }
  });

  test('whatever the scores: negative, equal, zero, none, more rows than columns', () => {
    const value = fc.oneof(fc.integer({ min: -2, max: 3 }), fc.double({ min: -1, max: 1, noNaN: true }));
    const row = (cols: number): fc.Arbitrary<SparseScores> =>
      fc.uniqueArray(fc.tuple(fc.nat(cols - 1), value), { selector: ([name]) => name, maxLength: 6 }).map(entries => ({
        names: Int32Array.from(entries, ([name]) => name),
        scores: Float64Array.from(entries, ([, score]) => score),
      }));
    const problem = fc
      .integer({ min: 1, max: 30 })
      .chain(cols => fc.tuple(fc.constant(cols), fc.array(row(cols), { maxLength: 12 })));
    fc.assert(
      fc.property(problem, ([cols, rows]) => {
        expect([...assignSparse(rows, cols)]).toEqual([...assign(denseOf(rows, cols), rows.length, cols)]);
      }),
      { numRuns: 2000, seed: 1 },
    );
  });

  test("scipy's recorded totals", () => {
    for (const { votes: rows, total } of assignmentsRecord.cases) {
      const sparse = rows.map(row => ({
        names: Int32Array.from(row, ([name]) => name),
        scores: Float64Array.from(row, ([, score]) => score),
      }));
      const chosen = assignSparse(sparse, assignmentsRecord.vocabulary);
      const sum = rows.reduce((all, row, k) => all + (row.find(([name]) => name === chosen[k])?.[1] ?? 0), 0);
      expect(sum).toBeCloseTo(total, 12);
    }
    const path = new URL('../../test/goldens/assign.json', import.meta.url);
    type Case = { rows: number; cols: number; at: number[]; values: number[]; columns: number[] };
    for (const { rows, cols, at, values, columns } of JSON.parse(readFileSync(path, 'utf8')) as Case[]) {
      const entries = Array.from({ length: rows }, (): [number, number][] => []);
      at.forEach((position, e) => {
        entries[Math.floor(position / cols)].push([position % cols, values[e]]);
      });
      const sparse = entries.map(row => ({
        names: Int32Array.from(row, ([name]) => name),
        scores: Float64Array.from(row, ([, score]) => score),
      }));
      expect([...assignSparse(sparse, cols)]).toEqual(columns);
    }
  });
});

test('columns that are not there, and scores that are not finite, are refused', () => {
  const row = (names: number[], scores: number[]): SparseScores => ({
    names: Int32Array.from(names),
    scores: Float64Array.from(scores),
  });
  expect(() => assignSparse([row([3], [1])], 3)).toThrow('row 0 has column 3 twice, or there are only 3');
  expect(() => assignSparse([row([1, 1], [1, 2])], 3)).toThrow('column 1 twice');
  expect(() => assignSparse([row([1], [Number.NaN])], 3)).toThrow('the score of row 0, column 1 is NaN');
  expect(() => assignSparse([row([1], [])], 3)).toThrow('1 columns and 0 scores');
});
