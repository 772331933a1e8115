/** The arithmetic of k-means beside its products, in float64: means, empty clusters, inertia. */
import type { Far } from './assigner.ts';

/** Σ x·x + … of all images in clusters [k] with these sums and sizes, about these centres [k, width]. */
export function inertiaOf(total: number, sums: Float64Array, sizes: Int32Array, centres: ArrayLike<number>): number {
  const width = sums.length / sizes.length;
  let inertia = total;
  for (let c = 0, at = 0; c < sizes.length; c++) {
    let [product, norm] = [0, 0];
    for (let d = 0; d < width; d++, at++) {
      product += sums[at] * centres[at];
      norm += centres[at] * centres[at];
    }
    inertia += sizes[c] * norm - 2 * product;
  }
  return Math.max(0, inertia);
}

/**
 * Moves the images farthest from their centres into the empty clusters, in `sums` [k, width] and `sizes` [k], one each,
 * the farthest first and the lower index first among equals (scikit-learn, `_relocate_empty_clusters_dense`). Nothing
 * moves when every image lies on its centre: there are fewer distinct images than clusters.
 * @param farthest as many images as clusters are empty, the farthest from their centres first
 */
export async function relocateEmpty(
  empty: readonly number[],
  farthest: readonly Far[],
  row: (image: number) => Promise<Float32Array>,
  sums: Float64Array,
  sizes: Int32Array,
): Promise<void> {
  const width = sums.length / sizes.length;
  if (farthest[0].distance === 0) return;
  for (const [rank, cluster] of empty.entries()) {
    const { index, label: from } = farthest[rank];
    const values = await row(index);
    for (let d = 0; d < width; d++) {
      sums[from * width + d] -= values[d];
      sums[cluster * width + d] = values[d];
    }
    sizes[from]--;
    sizes[cluster] = 1;
  }
}

/**
 * Turns the sums [k, width] into means in place; an empty cluster goes where the largest one is.
 * @returns the squared distance that all centres moved
 */
export function moveCentres(centres: Float64Array, sums: Float64Array, sizes: Int32Array): number {
  const width = sums.length / sizes.length;
  const largest = sizes.indexOf(sizes.reduce((a, b) => Math.max(a, b)));
  for (let c = 0, at = 0; c < sizes.length; c++) {
    for (const end = at + width; at < end; at++) sums[at] /= Math.max(1, sizes[c]);
  }
  sizes.forEach((size, cluster) => {
    if (size === 0) sums.copyWithin(cluster * width, largest * width, (largest + 1) * width);
  });
  let shift = 0;
  for (let at = 0; at < sums.length; at++) shift += (sums[at] - centres[at]) ** 2;
  return shift;
}
