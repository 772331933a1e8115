/** The clusters of one run of k-means: exact sums, their means, and what changed, so that what did not is left alone. */
import { takeRows } from '../row-pass.ts';
import type { Assigned } from './assigner.ts';
import { moveCentres } from './means.ts';

export class Clusters {
  readonly k: number;
  /** [k, width] sums of the rows of every cluster. */
  readonly sums: Float64Array;
  readonly sizes: Int32Array;
  /** [k, width], and as float32, which is what images are compared with. */
  readonly centres: Float64Array;
  readonly rounded: Float32Array;
  /** The centres that the slices do not know yet. */
  moved: Int32Array;
  readonly #width: number;
  /** Clusters whose sums changed with the last assignment. */
  readonly #touched: Uint8Array;
  #displaced = false;

  /** @param start [k, width] */
  constructor(start: Float32Array, width: number) {
    this.k = start.length / width;
    this.#width = width;
    this.sums = new Float64Array(start.length);
    this.sizes = new Int32Array(this.k);
    this.centres = Float64Array.from(start);
    this.rounded = start.slice();
    this.moved = Int32Array.from({ length: this.k }, (_, c) => c);
    this.#touched = new Uint8Array(this.k);
  }

  /** The rows of `moved`, [moved.length, width]. */
  movedRows(): Float32Array {
    return takeRows(this.rounded, this.#width, this.moved);
  }

  /** Takes over what an assignment changed. The sums are exact, so the order of the slices does not show. */
  take(parts: readonly Assigned[]): void {
    this.#touched.fill(0);
    this.sizes.fill(0);
    for (const { sizes, changed, changes } of parts) {
      const padded = changes.length / Math.max(1, changed.length);
      for (let c = 0; c < this.k; c++) this.sizes[c] += sizes[c];
      changed.forEach((c, i) => {
        this.#touched[c] = 1;
        for (let d = 0; d < this.#width; d++) this.sums[c * this.#width + d] += changes[i * padded + d];
      });
    }
  }

  /** The mean over the dimensions of the variance of all images, whose squared lengths add up to `total`. */
  variance(total: number): number {
    const count = this.sizes.reduce((sum, size) => sum + size, 0);
    let squares = 0;
    for (let d = 0; d < this.#width; d++) {
      let sum = 0;
      for (let at = d; at < this.sums.length; at += this.#width) sum += this.sums[at];
      squares += (sum / count) ** 2;
    }
    return (total / count - squares) / this.#width;
  }

  /**
   * Moves the centres to the means.
   * @param displaced sums and sizes to use instead, where images were moved into empty clusters
   * @returns the squared distance that all centres moved
   */
  move(displaced?: { sums: Float64Array; sizes: Int32Array }): number {
    if (displaced || this.#displaced) {
      // Means of other sums than before, or back to their own: every centre may move.
      const { sums, sizes } = displaced ?? { sums: this.sums.slice(), sizes: this.sizes };
      const shift = moveCentres(this.centres, sums, sizes);
      this.centres.set(sums);
      this.rounded.set(sums);
      this.moved = Int32Array.from({ length: this.k }, (_, c) => c);
      this.#displaced = displaced !== undefined;
      return shift;
    }
    let shift = 0;
    const moved: number[] = [];
    for (let c = 0; c < this.k; c++) {
      if (!this.#touched[c]) continue;
      moved.push(c);
      for (let at = c * this.#width; at < (c + 1) * this.#width; at++) {
        const mean = this.sums[at] / this.sizes[c];
        shift += (mean - this.centres[at]) ** 2;
        this.centres[at] = mean;
        this.rounded[at] = mean;
      }
    }
    this.moved = Int32Array.from(moved);
    return shift;
  }
}
