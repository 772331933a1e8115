/** The part of greedy k-means++ that looks at every image of a slice: distances from rows that may become centres. */
import { productError } from './centre-table.ts';
import { filterTable, ScoreFilter } from './filter.ts';
import { GROUP } from './kernel.ts';
import type { ImageSlice, QuantisedRows } from './slice.ts';

/** Images whose distances are added up together: sums are of parts that do not depend on how images are shared out. */
export const PART = 1024;

// Images whose scores the filter makes at once.
const FILTER_ROWS = 4096;

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
  async try(trial: Trial): Promise<Float64Array<ArrayBuffer>> {
    const { count, kernel } = this.#slice;
    const trials = trial.norms.length;
    while (this.#trials.length < trials) this.#trials.push(new Float64Array(count));
    const sums = new Float64Array(trials * Math.ceil(count / PART));
    // The first centre is compared with all: nothing is near yet.
    const quantised = trials > 1 ? await this.#slice.quantised() : undefined;
    const table = this.#place(trial);
    if (quantised) await this.#filtered(trial, table, quantised, sums);
    else {
      const products = new Float32Array(kernel.memory.buffer, this.#slice.scratch, Math.ceil(trials / GROUP) * GROUP);
      for (let i = 0; i < count; i++) {
        this.#products(i, table, trials);
        for (let t = 0; t < trials; t++) this.#note(i, t, this.#distance(i, t, products[t], trial), sums);
      }
    }
    return sums;
  }

  /** Puts the trials into the memory and returns their address. */
  #place({ rows, norms }: Trial): number {
    const { width, padded, kernel } = this.#slice;
    const slots = Math.ceil(norms.length / GROUP) * GROUP;
    const table = this.#slice.reserve(4 * slots * padded);
    for (let t = 0; t < slots; t++) {
      const row = rows.subarray((t % norms.length) * width, ((t % norms.length) + 1) * width);
      const target = new Float32Array(kernel.memory.buffer, table + 4 * padded * t, padded).fill(0);
      target.set(row);
    }
    return table;
  }

  /** The products of an image with all trials, at the scratch address. */
  #products(i: number, table: number, trials: number): void {
    const { kernel, padded, scratch } = this.#slice;
    for (let t = 0; t < trials; t += GROUP) kernel.dots(this.#slice.row(i), table + 4 * padded * t, scratch + 4 * t);
  }

  #distance(i: number, t: number, product: number, { norms, places }: Trial): number {
    // Rounding must not leave an image at a distance from itself, or it could be drawn again.
    return places[t] === i ? 0 : Math.max(0, this.#slice.norms[i] + norms[t] - 2 * product);
  }

  #note(i: number, t: number, apart: number, sums: Float64Array): void {
    const distance = Math.min(this.#closest[i], apart);
    this.#trials[t][i] = distance;
    sums[t * Math.ceil(this.#slice.count / PART) + Math.floor(i / PART)] += distance;
  }

  /** Compares images with those trials only that the 8-bit scores do not show to be farther than what is near already. */
  async #filtered(trial: Trial, table: number, quantised: QuantisedRows, sums: Float64Array): Promise<void> {
    const { count, width, padded, kernel } = this.#slice;
    const { mean, step, squares, errors, doubt } = quantised;
    const { rows, norms } = trial;
    const trials = norms.length;
    const filter = await ScoreFilter.open(padded, 1);
    const values = new Float64Array(width);
    const bytes = filterTable(trials, 1, padded, t => {
      let norm = 0;
      for (let d = 0, at = t * width; d < width; d++, at++) {
        values[d] = rows[at] - mean[d];
        norm += values[d] * values[d];
      }
      return { values, bias: -norm / 2 };
    });
    const longest = norms.reduce((a, b) => Math.max(a, b), 0);
    const parts = Math.ceil(count / PART);
    for (let start = 0; start < count; start += FILTER_ROWS) {
      const end = Math.min(count, start + FILTER_ROWS);
      const scores = await filter.best(this.#slice.bytes(start, end - start), end - start, step, bytes);
      for (let i = start, at = 0; i < end; i++, at += trials) {
        const closest = this.#closest[i];
        const part = Math.floor(i / PART);
        const length = Math.sqrt(squares[i] * (1 + doubt));
        const off = errors[i] * bytes.length + length * bytes.error + 1e-6 * (length * bytes.longest + bytes.bias);
        const eta = productError(padded, Math.sqrt(this.#slice.norms[i] * longest));
        // |x − c|² is |x − mean|² less twice the score; from this score on it may be less than what is near.
        const sure = (squares[i] * (1 - doubt) - closest) / 2 - off - 2 * eta;
        for (let t = 0; t < trials; t++) {
          if (scores[at + t] < sure) {
            this.#trials[t][i] = closest;
            sums[t * parts + part] += closest;
          } else {
            const product = kernel.dot(this.#slice.row(i), table + 4 * padded * t);
            this.#note(i, t, this.#distance(i, t, product, trial), sums);
          }
        }
      }
    }
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
