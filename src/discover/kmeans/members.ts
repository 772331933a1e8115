/** Which images of a slice belong to which cluster, and what joined and left the clusters since it was last asked. */
import type { ImageSlice } from './slice.ts';

/** What changed in a slice's clusters. */
export interface Changes {
  readonly sizes: Int32Array<ArrayBuffer>;
  /** Clusters that images left or joined, and the sums of the rows that came less those that went, on the grid. */
  readonly changed: Int32Array<ArrayBuffer>;
  readonly changes: Float64Array<ArrayBuffer>;
}

export class Members {
  /** Cluster of every image, −1 before it has one. */
  readonly labels: Int32Array<ArrayBuffer>;
  readonly #slice: ImageSlice;
  readonly #address: number;
  readonly #magic: number;
  readonly #sizes: Int32Array;
  readonly #touched: Uint8Array;

  /** Bytes of memory that `k` clusters need. */
  static room(k: number, padded: number): number {
    return 8 * k * padded;
  }

  /**
   * @param address of so much memory, all zero
   * @param magic of the grid on which rows are summed
   */
  constructor(slice: ImageSlice, k: number, address: number, magic: number) {
    this.#slice = slice;
    this.#address = address;
    this.#magic = magic;
    this.labels = new Int32Array(slice.count).fill(-1);
    this.#sizes = new Int32Array(k);
    this.#touched = new Uint8Array(k);
  }

  /** Moves an image; 1 when that changed its cluster, else 0. */
  move(image: number, label: number): number {
    const before = this.labels[image];
    if (before === label) return 0;
    if (before >= 0) this.#add(image, before, -1);
    this.#add(image, label, 1);
    this.labels[image] = label;
    return 1;
  }

  /** What changed since the last call. */
  takeChanges(): Changes {
    const { kernel, padded } = this.#slice;
    const changed = Int32Array.from([...this.#touched.keys()].filter(c => this.#touched[c] === 1));
    const changes = new Float64Array(changed.length * padded);
    changed.forEach((c, i) => {
      const sums = new Float64Array(kernel.memory.buffer, this.#address + 8 * padded * c, padded);
      changes.set(sums, i * padded);
      sums.fill(0);
    });
    this.#touched.fill(0);
    return { changed, changes, sizes: this.#sizes.slice() };
  }

  #add(image: number, label: number, sign: 1 | -1): void {
    const { kernel, padded } = this.#slice;
    kernel.add(this.#slice.row(image), this.#address + 8 * padded * label, this.#magic, sign);
    this.#sizes[label] += sign;
    this.#touched[label] = 1;
  }
}
