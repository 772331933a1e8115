/** How far two sets of rows are apart. */

export interface Distance {
  /** Least cosine between rows that belong together. */
  readonly cosine: number;
  /** Largest difference of an element, as a share of the largest element of its row. */
  readonly relative: number;
}

/** Compares [N, D] with the expected [N, D]; throws when their sizes differ. */
export function distance(found: Float32Array, expected: Float32Array, width: number): Distance {
  if (found.length !== expected.length || found.length === 0 || found.length % width !== 0) {
    throw new Error(`${found.length} values cannot be compared with ${expected.length} in rows of ${width}`);
  }
  let [cosine, relative] = [1, 0];
  for (let start = 0; start < found.length; start += width) {
    let [dot, ours, theirs, gap, largest] = [0, 0, 0, 0, 0];
    for (let i = start; i < start + width; i++) {
      dot += found[i] * expected[i];
      ours += found[i] ** 2;
      theirs += expected[i] ** 2;
      gap = Math.max(gap, Math.abs(found[i] - expected[i]));
      largest = Math.max(largest, Math.abs(expected[i]));
    }
    cosine = Math.min(cosine, dot / Math.sqrt(ours * theirs));
    relative = Math.max(relative, gap / largest);
    // A comparison with NaN is false, so NaN would pass unseen.
    if (!Number.isFinite(dot) || !Number.isFinite(ours)) return { cosine: Number.NaN, relative: Number.NaN };
  }
  return { cosine, relative };
}

/** Rows [N, D] at length 1. */
export function unitRows(rows: Float32Array, width: number): Float32Array {
  const out = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += width) {
    const norm = Math.hypot(...rows.subarray(start, start + width));
    for (let i = start; i < start + width; i++) out[i] = rows[i] / norm;
  }
  return out;
}
