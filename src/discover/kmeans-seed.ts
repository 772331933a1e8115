/** The part of greedy k-means++ that looks at every image of a slice: distances from rows that may become centres. */
import { GROUP } from './kmeans-kernel.ts';
import type { ImageSlice } from './kmeans-slice.ts';

/** Images whose distances are added up together: sums are of parts that do not depend on how images are shared out. */
export const PART = 1024;

/** Rows that may become the next centre. */
export interface Trial {
  /** [trials, width] */
  readonly rows: Float32Array;
  /** [trials] their squared lengths, and their places in this slice or −1. */
  readonly norms: Float64Array;
  readonly places: Int32Array;
}

/** An image to be drawn: where the sum of distances within a part reaches a value. */
export interface Wanted {
  readonly part: number;
  readonly value: number;
}

/** An image of the slice, with its row. */
export interface Located {
  readonly index: number;
  readonly row: Float32Array;
}

/** Squared distances of a slice's images from the nearest centre so far. */
export class Seeder {
  readonly #slice: ImageSlice;
  #closest: Float64Array;
  #trials: Float64Array[] = [];

  constructor(slice: ImageSlice) {
    this.#slice = slice;
    this.#closest = new Float64Array(slice.count).fill(Number.POSITIVE_INFINITY);
  }

  /** For every trial the sums, by parts, of the distances that there would be with it; [trials, parts]. */
  try({ rows, norms, places }: Trial): Float64Array<ArrayBuffer> {
    const { count, width, padded, kernel, scratch } = this.#slice;
    const trials = norms.length;
    const groups = Math.ceil(trials / GROUP);
    const table = this.#slice.reserve(4 * groups * GROUP * padded);
    const { buffer } = kernel.memory;
    for (let t = 0; t < groups * GROUP; t++) {
      const row = rows.subarray((t % trials) * width, ((t % trials) + 1) * width);
      const target = new Float32Array(buffer, table + 4 * padded * t, padded).fill(0);
      target.set(row);
    }
    while (this.#trials.length < trials) this.#trials.push(new Float64Array(count));
    const parts = Math.ceil(count / PART);
    const sums = new Float64Array(trials * parts);
    const products = new Float32Array(buffer, scratch, groups * GROUP);
    for (let i = 0; i < count; i++) {
      for (let g = 0; g < groups; g++) {
        kernel.dots(this.#slice.row(i), table + 4 * padded * GROUP * g, scratch + 4 * GROUP * g);
      }
      const part = Math.floor(i / PART);
      const closest = this.#closest[i];
      for (let t = 0; t < trials; t++) {
        // Rounding must not leave an image at a distance from itself, or it could be drawn again.
        const apart = places[t] === i ? 0 : this.#slice.norms[i] + norms[t] - 2 * products[t];
        const distance = Math.min(closest, Math.max(0, apart));
        this.#trials[t][i] = distance;
        sums[t * parts + part] += distance;
      }
    }
    return sums;
  }

  /** Makes a trial the next centre. */
  keep(trial: number): void {
    [this.#closest, this.#trials[trial]] = [this.#trials[trial], this.#closest];
  }

  /** The first image of a part at which the sum of the distances in it reaches a value; its last image when none does. */
  locate({ part, value }: Wanted): Located {
    const end = Math.min(this.#slice.count, (part + 1) * PART);
    let [sum, index] = [0, part * PART];
    for (; index < end - 1; index++) {
      sum += this.#closest[index];
      if (sum >= value) break;
    }
    return { index, row: this.#slice.values(index).slice() };
  }
}
