/** The centres that may be nearest to the images of a chunk by their 8-bit scores, and the nearest of them by exact products. */
import type { ByteCentres, CentreTable } from './centre-table.ts';
import { GROUP } from './kernel.ts';
import type { ImageSlice, QuantisedRows } from './slice.ts';

// Scores that the filter makes at once: they stay in the processor's caches. Fewer images than the least are not worth a call.
const SCORES = 2 ** 19;
const [LEAST, MOST] = [256, 4096];

const sizeOf = (slice: ImageSlice, slots: number): number =>
  Math.min(slice.count, Math.max(LEAST, Math.min(MOST, Math.floor(SCORES / slots))));

export class Shortlist {
  /** Images of a chunk at most. */
  readonly size: number;
  /** [size, slots] for their scores, in the order of the table's columns. */
  readonly scores: Float32Array;
  /** The score of the centre last chosen; infinite when it was the only candidate, and none was computed. */
  score = 0;
  readonly #slice: ImageSlice;
  readonly #table: CentreTable;
  readonly #scoresAt: number;
  readonly #foundAt: number;
  /** [size, slots] the columns of the candidates of every image, and [size] how many. */
  readonly #found: Int32Array;
  readonly #counts: Int32Array;
  /** Addresses of the images with several candidates in order, and the next of them. */
  readonly #open: Int32Array;
  #next = 0;

  /** Bytes of memory that a slice's shortlists need. */
  static room(slice: ImageSlice, slots: number): number {
    return 8 * slots * sizeOf(slice, slots);
  }

  /** @param address of so much memory */
  constructor(slice: ImageSlice, table: CentreTable, address: number) {
    const slots = table.order.length;
    this.#slice = slice;
    this.#table = table;
    this.size = sizeOf(slice, slots);
    this.#scoresAt = address;
    this.#foundAt = address + 4 * slots * this.size;
    const { buffer } = slice.kernel.memory;
    this.scores = new Float32Array(buffer, this.#scoresAt, slots * this.size);
    this.#found = new Int32Array(buffer, this.#foundAt, slots * this.size);
    this.#counts = new Int32Array(this.size);
    this.#open = new Int32Array(this.size + 1);
  }

  /**
   * Lists the candidates of images whose scores there are.
   * @param eta what float32 may do to an exact score
   */
  list(images: Int32Array, { table, apart, lostApart }: ByteCentres, quantised: QuantisedRows, eta: number): void {
    const { kernel } = this.#slice;
    const { squares, errors, doubt } = quantised;
    const stride = 4 * this.#table.order.length;
    let open = 0;
    for (let r = 0; r < images.length; r++) {
      const i = images[r];
      const length = Math.sqrt(squares[i] * (1 + doubt));
      // What the difference of two scores is at most off: the bytes miss some of the image, some of both centres, and
      // float32 some of the scores.
      const slack = 1e-6 * (length * table.longest + table.bias);
      const margin = errors[i] * apart + length * lostApart + 2 * slack + 2 * eta;
      const row = this.#scoresAt + stride * r;
      const count = kernel.candidates(row, row + stride, margin, this.#foundAt + stride * r);
      this.#counts[r] = count;
      if (count > 1) this.#open[open++] = this.#slice.row(i);
    }
    // Nothing lies behind the last, so it is read again.
    this.#open[open] = open > 0 ? this.#open[open - 1] : 0;
    this.#next = 0;
  }

  /** The nearest centre of the image in row r of the list; rows are asked for in order. */
  nearest(r: number): number {
    const { kernel, scratch } = this.#slice;
    const table = this.#table;
    const { order, slotAt, halves, products } = table;
    const [found, count, base] = [this.#found, this.#counts[r], order.length * r];
    if (count === 1) {
      this.score = Number.POSITIVE_INFINITY;
      return order[slotAt[found[base]]];
    }
    const image = this.#open[this.#next++];
    // Images come from the machine's memory, far apart: the next one is on its way while this one is compared.
    kernel.touch(this.#open[this.#next]);
    const last = slotAt[found[base + count - 1]];
    let [most, best] = [Number.NEGATIVE_INFINITY, -1];
    for (let first = 0; first < count; first += GROUP) {
      const [left, at] = [count - first, base + first];
      const a = table.at(slotAt[found[at]]);
      // Places behind the last are filled with it, which changes nothing.
      if (left <= 2) kernel.pairAt(image, a, table.at(left === 1 ? last : slotAt[found[at + 1]]), scratch);
      else {
        const d = left === 3 ? last : slotAt[found[at + 3]];
        kernel.dotsAt(image, a, table.at(slotAt[found[at + 1]]), table.at(slotAt[found[at + 2]]), table.at(d), scratch);
      }
      for (let p = 0; p < GROUP && p < left; p++) {
        const slot = slotAt[found[at + p]];
        const score = products[p] - halves[slot];
        if (score > most || (score === most && order[slot] < best)) {
          most = score;
          best = order[slot];
        }
      }
    }
    this.score = most;
    return best;
  }
}
