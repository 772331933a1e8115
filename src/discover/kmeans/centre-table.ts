/** The centres of one run in a slice's memory, in groups that are met or skipped as a whole. */
import { type FilterTable, filterTable } from './filter.ts';
import { groupOrder, plainOrder } from './groups.ts';
import { GROUP } from './kernel.ts';
import type { ImageSlice } from './slice.ts';

// Up to so many slots all centres are compared with each other, for narrower margins.
const PAIRED = 256;

/** Centres as bytes, and what limits the difference of two of their scores. */
export interface ByteCentres {
  readonly table: FilterTable;
  /** The greatest distance between two centres as the bytes have them, and between what two of them lost. */
  readonly apart: number;
  readonly lostApart: number;
}

export class CentreTable {
  readonly groups: number;
  /** Centre of every slot, −1 where a group is not full. */
  order: Int32Array;
  /** Slot of every centre. */
  readonly slotOf: Int32Array;
  /** Slot of every column of the table of bytes. */
  readonly slotAt: Int32Array;
  /** |c|²/2 of every slot; infinite where there is no centre. */
  readonly halves: Float64Array;
  /** Where the kernel leaves the products that `dots` asks for. */
  products = new Float32Array(0);
  /** The greatest squared length of a centre. */
  longest = 0;
  readonly #slice: ImageSlice;
  readonly #address: number;
  readonly #stride: number;
  readonly #centres: Float32Array;
  #grouped = false;

  /** Bytes of memory that `k` centres need. */
  static room(k: number, padded: number): number {
    const slots = Math.ceil(k / GROUP) * GROUP;
    return 4 * padded * slots * (slots > PAIRED ? 1 : 2);
  }

  /** @param address of so much memory, all zero */
  constructor(slice: ImageSlice, k: number, address: number) {
    this.#slice = slice;
    this.#address = address;
    this.#stride = 4 * slice.padded;
    this.#centres = new Float32Array(k * slice.width);
    this.groups = Math.ceil(k / GROUP);
    this.order = plainOrder(k);
    this.slotOf = Int32Array.from({ length: k }, (_, c) => c);
    this.slotAt = Int32Array.from(
      this.order,
      (_, column) => (column % this.groups) * GROUP + Math.floor(column / this.groups),
    );
    this.halves = new Float64Array(this.groups * GROUP).fill(Number.POSITIVE_INFINITY);
  }

  /**
   * Takes over where centres are now.
   * @param rows [moved.length, width]
   * @returns [k] at least how far each has moved
   */
  move(moved: Int32Array, rows: Float32Array): Float64Array {
    const { width, kernel, scratch } = this.#slice;
    this.products = new Float32Array(kernel.memory.buffer, scratch, GROUP);
    const distances = new Float64Array(this.slotOf.length);
    moved.forEach((c, i) => {
      let shift = 0;
      for (let d = 0, from = i * width, to = c * width; d < width; d++, from++, to++) {
        shift += (rows[from] - this.#centres[to]) ** 2;
        this.#centres[to] = rows[from];
      }
      distances[c] = Math.sqrt(shift) * 1.000001;
    });
    this.#place(moved);
    const longest = this.halves.reduce(
      (most, half) => (half < Number.POSITIVE_INFINITY && half > most ? half : most),
      0,
    );
    this.longest = 2 * longest;
    return distances;
  }

  /** Puts near centres into one group, once in a run. */
  group(): void {
    if (this.#grouped) return;
    this.#grouped = true;
    this.order = groupOrder(this.#centres, this.#slice.width);
    this.halves.fill(Number.POSITIVE_INFINITY);
    this.#view(this.#address).fill(0);
    this.order.forEach((centre, slot) => {
      if (centre >= 0) this.slotOf[centre] = slot;
    });
    this.#place(this.slotOf.keys());
  }

  /** The address of the centre in a slot. */
  at(slot: number): number {
    return this.#address + this.#stride * slot;
  }

  /** The score of an image with the centre in a slot. */
  score(image: number, slot: number): number {
    return this.#slice.kernel.dot(this.#slice.row(image), this.at(slot)) - this.halves[slot];
  }

  /** The centres less a mean [width] as bytes. */
  asBytes(mean: Float32Array): ByteCentres {
    const { width, padded } = this.#slice;
    const { order } = this;
    const values = new Float64Array(width);
    const paired = this.halves.length <= PAIRED;
    const lostAt = this.at(this.halves.length);
    const row = (slot: number): { values: Float64Array; bias: number } | undefined => {
      if (order[slot] < 0) return undefined;
      let norm = 0;
      for (let d = 0, at = order[slot] * width; d < width; d++, at++) {
        const value = this.#centres[at] - mean[d];
        values[d] = value;
        norm += value * value;
      }
      return { values, bias: -norm / 2 };
    };
    const table = filterTable(this.groups, GROUP, padded, row, paired ? this.#view(lostAt) : undefined);
    const lostApart = paired ? this.#widest(lostAt) : 2 * table.error;
    const apart = paired ? Math.min(2 * table.length, this.#widest(this.#address) + lostApart) : 2 * table.length;
    return { table, apart, lostApart };
  }

  /** As many rows as there are slots. */
  #view(address: number): Float32Array {
    return new Float32Array(this.#slice.kernel.memory.buffer, address, this.halves.length * this.#slice.padded);
  }

  /** Puts centres into their slots. */
  #place(centres: Iterable<number>): void {
    const { width, padded } = this.#slice;
    const table = this.#view(this.#address);
    for (const c of centres) {
      const slot = this.slotOf[c];
      let norm = 0;
      for (let d = 0, from = c * width, to = slot * padded; d < width; d++, from++, to++) {
        const value = this.#centres[from];
        table[to] = value;
        norm += value * value;
      }
      this.halves[slot] = norm / 2;
    }
  }

  /** At least the greatest distance between the rows of two centres' slots. */
  #widest(address: number): number {
    const { kernel, padded, scratch } = this.#slice;
    const { order, products } = this;
    const squares = Float64Array.from(order, (_, slot) => kernel.square(address + this.#stride * slot));
    let [most, longest] = [0, 0];
    for (let slot = 0; slot < order.length; slot++) {
      longest = Math.max(longest, squares[slot]);
      if (order[slot] < 0) continue;
      // Groups before the slot's own have been compared with it.
      for (let first = slot - (slot % GROUP); first < order.length; first += GROUP) {
        kernel.dots(address + this.#stride * slot, address + this.#stride * first, scratch);
        for (let c = 0; c < GROUP; c++) {
          if (order[first + c] < 0) continue;
          most = Math.max(most, squares[slot] + squares[first + c] - 2 * products[c]);
        }
      }
    }
    return Math.sqrt(most + 2 * productError(padded, longest)) * 1.000001;
  }
}

/** What a product of two rows of the kernel is at most off, by the square of the longest or the product of two lengths. */
export const productError = (padded: number, lengths: number): number =>
  // Sums of padded/8 products in each lane, and a few more additions.
  (padded / 8 + 16) * 2 ** -24 * lengths;
