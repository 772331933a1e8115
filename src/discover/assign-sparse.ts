/** Linear sum assignment on rows of few scores: as `assign` on the dense matrix, without looking at its zeros. */
import { S3aError } from '../errors.ts';
import { assign } from './assign.ts';

/** The scores of one row that are not zero, with their columns. */
export interface SparseScores {
  readonly names: Int32Array;
  readonly scores: Float64Array;
}

/**
 * Matches rows with columns one to one so that the sum of scores over the matched pairs is greatest; scores not listed are 0.
 * Returns each row's column, or −1 for a row that is left over (only when there are more rows than columns).
 *
 * The result is to the last tie that of `assign`, and so of scipy.optimize.linear_sum_assignment, on the dense matrix: the
 * same shortest paths in the same order of operations. Along zeros a path can reach any column; all columns that no row
 * of the search has a score for are as far away but for their dual values, which are 0 for free ones and never
 * positive, so of all these only the free column that the dense search would take can be the nearest.
 *
 * Throws S3aError SHAPE for a column that is not there or twice in a row, VALUE when a score is not finite.
 */
export function assignSparse(rows: readonly SparseScores[], cols: number): Int32Array {
  check(rows, cols);
  const voted = new Uint8Array(cols);
  for (const { names } of rows) for (const name of names) voted[name] = 1;
  const zeros = voted.reduce((count, is) => count - is, cols);
  // A search needs a free column without scores; fewer rows than these leave one.
  return rows.length < zeros ? solve(rows, cols) : dense(rows, cols);
}

function check(rows: readonly SparseScores[], cols: number): void {
  const last = new Int32Array(cols).fill(-1);
  for (const [row, { names, scores }] of rows.entries()) {
    if (names.length !== scores.length) {
      throw new S3aError('SHAPE', `assign: row ${row} has ${names.length} columns and ${scores.length} scores`);
    }
    for (let e = 0; e < names.length; e++) {
      if (!(names[e] >= 0 && names[e] < cols) || last[names[e]] === row) {
        throw new S3aError('SHAPE', `assign: row ${row} has column ${names[e]} twice, or there are only ${cols}`);
      }
      if (!Number.isFinite(scores[e])) {
        throw new S3aError('VALUE', `assign: the score of row ${row}, column ${names[e]} is ${scores[e]}`);
      }
      last[names[e]] = row;
    }
  }
}

function dense(rows: readonly SparseScores[], cols: number): Int32Array {
  const matrix = new Float64Array(rows.length * cols);
  for (const [row, { names, scores }] of rows.entries()) {
    for (let e = 0; e < names.length; e++) matrix[row * cols + names[e]] = scores[e];
  }
  return assign(matrix, rows.length, cols);
}

function solve(rows: readonly SparseScores[], cols: number): Int32Array {
  const u = new Float64Array(rows.length); // dual values
  const v = new Float64Array(cols);
  const shortest = new Float64Array(cols); // length of the shortest path to a column that was reached by a score
  const path = new Int32Array(cols); // the row before it on that path
  const rowOfColumn = new Int32Array(cols).fill(-1);
  const columnOfRow = new Int32Array(rows.length).fill(-1);
  const reachedIn = new Int32Array(cols).fill(-1); // the search that reached a column by a score
  const closedIn = new Int32Array(cols).fill(-1); // the search that visited it
  const scoredIn = new Int32Array(cols).fill(-1); // the last scan of a row that has a score for it
  const reached = new Int32Array(cols); // columns reached and not yet visited
  const visited = new Int32Array(rows.length + 1);
  let scan = 0;

  for (let start = 0; start < rows.length; start++) {
    // The dense search looks at columns in a list that begins in falling order; the last fills the place of one that is taken out.
    const placeOf = new Map<number, number>();
    const columnAt = new Map<number, number>();
    const place = (column: number): number => placeOf.get(column) ?? cols - 1 - column;
    const at = (position: number): number => columnAt.get(position) ?? cols - 1 - position;
    let left = cols;
    let open = 0;
    let count = 0;
    let least = 0;
    let row = start;
    let sink = -1;
    // Rows that came nearer by zeros than those before, with the lengths to a column whose dual value is 0.
    const nearer: { row: number; length: number }[] = [];
    let byZeros = Number.POSITIVE_INFINITY;
    // Rounding makes some dual values a trifle positive; those columns are watched one by one.
    for (const column of columnOfRow) {
      if (column < 0 || !(v[column] > 0)) continue;
      reachedIn[column] = start;
      reached[open++] = column;
      shortest[column] = Number.POSITIVE_INFINITY;
    }
    while (sink < 0) {
      const { names, scores } = rows[row];
      const dual = u[row];
      scan++;
      for (let e = 0; e < names.length; e++) {
        const j = names[e];
        // A listed zero is a zero like any other.
        if (scores[e] === 0 || closedIn[j] === start) continue;
        scoredIn[j] = scan;
        if (reachedIn[j] !== start) {
          reachedIn[j] = start;
          reached[open++] = j;
          shortest[j] = Number.POSITIVE_INFINITY;
          for (const before of nearer) {
            if (before.length - v[j] < shortest[j]) {
              shortest[j] = before.length - v[j];
              path[j] = before.row;
            }
          }
        }
        const length = least - scores[e] - dual - v[j];
        if (length < shortest[j]) {
          shortest[j] = length;
          path[j] = row;
        }
      }
      const zero = least - dual;
      let lowest = Number.POSITIVE_INFINITY;
      let index = -1;
      for (let it = 0; it < open; it++) {
        const j = reached[it];
        if (scoredIn[j] !== scan && zero - v[j] < shortest[j]) {
          shortest[j] = zero - v[j];
          path[j] = row;
        }
        if (shortest[j] < lowest || (shortest[j] === lowest && comesBefore(j, reached[index]))) {
          lowest = shortest[j];
          index = it;
        }
      }
      if (zero < byZeros) {
        byZeros = zero;
        nearer.push({ row, length: zero });
      }
      let column = index < 0 ? -1 : reached[index];
      if (byZeros <= lowest) {
        const free = freeColumn();
        if (byZeros < lowest || comesBefore(free, column)) {
          column = free;
          lowest = byZeros;
          shortest[column] = byZeros;
          path[column] = nearer[nearer.length - 1].row;
          index = -1;
        }
      }
      least = lowest;
      visited[count++] = column;
      closedIn[column] = start;
      if (index >= 0) reached[index] = reached[--open];
      if (rowOfColumn[column] < 0) sink = column;
      else row = rowOfColumn[column];
      const [hole, moved] = [place(column), at(--left)];
      columnAt.set(hole, moved);
      placeOf.set(moved, hole);
    }
    u[start] += least;
    for (let k = 0; k < count - 1; k++) u[rowOfColumn[visited[k]]] += least - shortest[visited[k]];
    for (let k = 0; k < count; k++) v[visited[k]] -= least - shortest[visited[k]];
    for (let column = sink; ; ) {
      const owner = path[column];
      rowOfColumn[column] = owner;
      const next = columnOfRow[owner];
      columnOfRow[owner] = column;
      if (owner === start) break;
      column = next;
    }

    /** Which of two equally near columns the dense search takes: the last free one in its list, else the first. */
    function comesBefore(a: number, b: number): boolean {
      const [freeA, freeB] = [rowOfColumn[a] < 0, rowOfColumn[b] < 0];
      if (freeA !== freeB) return freeA;
      return freeA ? place(a) > place(b) : place(a) < place(b);
    }

    /** The last free column in the list of those that no score has reached. */
    function freeColumn(): number {
      for (let position = left - 1; ; position--) {
        const column = at(position);
        if (rowOfColumn[column] < 0 && reachedIn[column] !== start) return column;
      }
    }
  }
  return columnOfRow;
}
