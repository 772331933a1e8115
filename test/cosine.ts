/** How far rows point from where they should. */

/**
 * The largest 1 − cosine of two lists of rows.
 * @param found rows of `width` values, of any length
 * @param expected as many
 */
export function worstCosine(found: ArrayLike<number>, expected: ArrayLike<number>, width: number): number {
  if (found.length !== expected.length) return Number.NaN;
  let worst = 0;
  for (let start = 0; start < found.length; start += width) {
    let [dot, a, b] = [0, 0, 0];
    for (let i = start; i < start + width; i++) {
      dot += found[i] * expected[i];
      a += found[i] ** 2;
      b += expected[i] ** 2;
    }
    worst = Math.max(worst, 1 - dot / Math.sqrt(a * b));
  }
  return worst;
}
