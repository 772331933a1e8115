/** The groups of centres that one image is compared with, and what is known of their best members. */
import type { CentreTable } from './centre-table.ts';
import { GROUP } from './kernel.ts';
import type { ImageSlice } from './slice.ts';

export class MetGroups {
  count = 0;
  /** The least distance that a centre of any other group may have. */
  rest = Number.POSITIVE_INFINITY;
  /** Which groups, the best centre of each, and its two best scores or what limits them. */
  readonly group: Int32Array;
  readonly centre: Int32Array;
  readonly best: Float64Array;
  readonly second: Float64Array;
  /** The score that `nearest` found. */
  score = 0;
  readonly #slice: ImageSlice;
  readonly #table: CentreTable;

  constructor(slice: ImageSlice, table: CentreTable) {
    this.#slice = slice;
    this.#table = table;
    this.group = new Int32Array(table.groups);
    this.centre = new Int32Array(table.groups);
    this.best = new Float64Array(table.groups);
    this.second = new Float64Array(table.groups);
  }

  /** Compares an image with all members of the groups met. */
  compare(image: number): void {
    const { kernel, scratch } = this.#slice;
    const { products, halves, order } = this.#table;
    const row = this.#slice.row(image);
    for (let m = 0; m < this.count; m++) {
      const first = this.group[m] * GROUP;
      kernel.dots(row, this.#table.at(first), scratch);
      let [best, second, centre] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, -1];
      for (let slot = first, c = 0; c < GROUP; slot++, c++) {
        const score = products[c] - halves[slot];
        if (score > best || (score === best && order[slot] < centre)) {
          second = best;
          best = score;
          centre = order[slot];
        } else if (score > second) second = score;
      }
      this.best[m] = best;
      this.second[m] = second;
      this.centre[m] = centre;
    }
  }

  /** The best centre met, or the given one of the given score. */
  nearest(score: number, centre: number): number {
    let [most, best] = [score, centre];
    for (let m = 0; m < this.count; m++) {
      const found = this.best[m];
      if (found > most || (found === most && this.centre[m] < best)) {
        most = found;
        best = this.centre[m];
      }
    }
    this.score = most;
    return best;
  }

  /**
   * Meets the group of the nearest centre alone, with the limit that the scores of the bytes, at most `off` wrong, set to
   * the others.
   * @param base of the image's scores
   */
  limit(group: number, scores: Float32Array, base: number, nearest: number, off: number): void {
    const { groups, order } = this.#table;
    let others = Number.NEGATIVE_INFINITY;
    for (let c = 0, at = base + group; c < GROUP; c++, at += groups) {
      if (order[group * GROUP + c] !== nearest && scores[at] > others) others = scores[at];
    }
    this.count = 1;
    this.group[0] = group;
    this.centre[0] = nearest;
    this.second[0] = others + off;
  }
}
