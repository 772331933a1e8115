/** About which mean and in which steps rows become bytes: some of them say it for all. */

// Rows that are looked at.
const LOOKED = 512;

/** Gives a row of a matrix. */
type RowAt = (index: number) => Float32Array;

/** The mean of some rows, [width]. */
export function meanRow(count: number, width: number, row: RowAt): Float32Array {
  const looked = some(count);
  const sum = new Float64Array(width);
  for (const i of looked) {
    const values = row(i);
    for (let d = 0; d < width; d++) sum[d] += values[d];
  }
  return Float32Array.from(sum, value => value / looked.length);
}

/**
 * The step with which 99 of 100 rows, less a mean, fit into ±`most` steps; the others lose more by rounding, which costs them
 * less than a wider step costs all.
 */
export function stepOf(count: number, mean: Float32Array, most: number, row: RowAt): number {
  const ranges = some(count).map(i => {
    const values = row(i);
    let range = 0;
    for (let d = 0; d < mean.length; d++) range = Math.max(range, Math.abs(values[d] - mean[d]));
    return range;
  });
  const range = ranges.sort((a, b) => a - b)[Math.floor(0.99 * (ranges.length - 1))];
  return Math.fround(Math.max(range / most, 1e-30));
}

function some(count: number): number[] {
  const step = Math.ceil(count / LOOKED);
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
}
