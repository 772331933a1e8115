/** The names nearest to a block of images: an 8-bit filter leaves few, and exact products decide. */
import { type FilterTable, filterTable, ScoreFilter } from './kmeans/filter.ts';
import { GROUP, type Kernel, makeKernel, paddedWidth } from './kmeans/kernel.ts';
import { meanRow, stepOf } from './kmeans/rounding.ts';

export interface Nearest {
  /** Columns of both arrays: `top`, or the number of names where that is smaller. */
  readonly top: number;
  /** [N, top] rows of the prototypes, best first; the lower index first among equals. */
  readonly indices: Int32Array;
  /** [N, top] dot products. */
  readonly scores: Float32Array;
}

// Names that the filter gives one limit: few limits to look at, few names behind each.
const NAMES = 16;
// The filter pays for this many pairs of images and names, and from this many names on.
const FILTERED = 2 ** 18;
const MANY_NAMES = 64;
// Scores that the filter makes at once.
const SCORES = 2 ** 22;
const PAGE = 65536;
// Addresses in the memory: products, two results of the quantisation, then the mean.
const [PRODUCTS, LENGTHS, MEAN] = [0, 64, 128];

/** Names as bytes about a mean of the images, and the length of the longest. */
interface RoundedNames {
  readonly table: FilterTable;
  readonly mean: Float32Array;
  readonly longest: number;
}

/** Names as a table in a WebAssembly memory, which images are compared with. */
export class NameTable {
  readonly width: number;
  readonly #padded: number;
  readonly #kernel: Kernel;
  #names = 0;
  #products = new Float32Array(0);
  readonly #table: number;
  #prototypes = new Float32Array(0);
  #rounded: RoundedNames | undefined;

  constructor(width: number) {
    this.width = width;
    this.#padded = paddedWidth(width);
    this.#kernel = makeKernel(this.#padded);
    this.#table = MEAN + 4 * this.#padded;
  }

  /** Takes other names, [V, width]. */
  set(prototypes: Float32Array<ArrayBuffer>): void {
    this.#prototypes = prototypes;
    this.#rounded = undefined;
    this.#names = prototypes.length / this.width;
    this.#reserve(0);
    const memory = new Float32Array(this.#kernel.memory.buffer);
    memory.fill(0, this.#table / 4, this.#rows / 4);
    for (let name = 0; name < this.#names; name++) {
      const row = prototypes.subarray(name * this.width, (name + 1) * this.width);
      memory.set(row, this.#table / 4 + name * this.#padded);
    }
  }

  /** The `top` nearest names of every row of `images` [N, width]. */
  async search(images: Float32Array, top: number): Promise<Nearest> {
    const count = images.length / this.width;
    const bytesAt = this.#rows + 4 * this.#padded * count;
    this.#reserve(5 * this.#padded * count);
    const memory = new Float32Array(this.#kernel.memory.buffer);
    memory.fill(0, this.#rows / 4, bytesAt / 4);
    for (let i = 0; i < count; i++) {
      memory.set(images.subarray(i * this.width, (i + 1) * this.width), this.#rows / 4 + i * this.#padded);
    }
    const found: Nearest = {
      top,
      indices: new Int32Array(count * top).fill(-1),
      scores: new Float32Array(count * top).fill(Number.NEGATIVE_INFINITY),
    };
    const few = this.#names < MANY_NAMES || count * this.#names < FILTERED;
    if (!few) await this.#filtered(images, bytesAt, found);
    else for (let i = 0; i < count; i++) this.#compare(i, 0, this.#names, found);
    return found;
  }

  /** Where rows of images begin: behind whole groups of names. */
  get #rows(): number {
    return this.#table + 4 * this.#padded * Math.ceil(this.#names / NAMES) * NAMES;
  }

  #reserve(bytes: number): void {
    const missing = this.#rows + bytes - this.#kernel.memory.buffer.byteLength;
    if (missing > 0) this.#kernel.memory.grow(Math.ceil(missing / PAGE));
    this.#products = new Float32Array(this.#kernel.memory.buffer, PRODUCTS, GROUP);
  }

  /** Compares image i with the names [from, to), `from` a multiple of `GROUP`. */
  #compare(i: number, from: number, to: number, { top, indices, scores }: Nearest): void {
    const row = this.#rows + 4 * this.#padded * i;
    const products = this.#products;
    const [begin, end] = [i * top, i * top + top - 1];
    for (let first = from; first < to; first += GROUP) {
      this.#kernel.dots(row, this.#table + 4 * this.#padded * first, PRODUCTS);
      for (let m = 0; m < GROUP && first + m < to; m++) {
        const [name, score] = [first + m, products[m]];
        // Groups come by rising names, so an equal score stays behind.
        if (!(score > scores[end])) continue;
        let at = end;
        for (; at > begin && score > scores[at - 1]; at--) {
          scores[at] = scores[at - 1];
          indices[at] = indices[at - 1];
        }
        scores[at] = score;
        indices[at] = name;
      }
    }
  }

  async #filtered(images: Float32Array, bytesAt: number, found: Nearest): Promise<void> {
    const filter = await ScoreFilter.open(this.#padded, NAMES);
    const [padded, kernel] = [this.#padded, this.#kernel];
    const count = images.length / this.width;
    this.#rounded ??= this.#round(images);
    const { table, mean } = this.#rounded;
    new Float32Array(kernel.memory.buffer, MEAN, padded).set(mean);
    const step = stepOf(count, mean, filter.most, rowsOf(images, this.width));
    const [squares, errors] = [new Float64Array(count), new Float64Array(count)];
    const out = new Float32Array(kernel.memory.buffer, LENGTHS, 2);
    for (let i = 0; i < count; i++) {
      const row = this.#rows + 4 * padded * i;
      kernel.quantise(row, MEAN, bytesAt + padded * i, step, filter.most, filter.zero, LENGTHS);
      squares[i] = out[0];
      errors[i] = Math.sqrt(out[1]) * 1.0001 + 1e-6 * Math.sqrt(out[0]);
    }
    // What float32 sums of padded/8 products may be off, for rows and names as long as these.
    const doubt = (padded / 8 + 16) * 2 ** -24;
    const longest = Math.sqrt(squares.reduce((a, b) => Math.max(a, b), 0)) + Math.hypot(...mean);
    const eta = doubt * longest * this.#rounded.longest;
    const rows = Math.max(64, Math.floor(SCORES / (table.groups * NAMES)));
    const bytes = new Uint8Array(kernel.memory.buffer, bytesAt, padded * count);
    const best = new Float64Array(found.top);
    for (let start = 0; start < count; start += rows) {
      const end = Math.min(count, start + rows);
      const scores = await filter.best(bytes.subarray(start * padded, end * padded), end - start, step, table);
      for (let i = start, at = 0; i < end; i++, at += table.groups) {
        const length = Math.sqrt(squares[i] * (1 + 8 * doubt));
        const slack = 1e-6 * (length * table.longest + table.bias) + eta;
        const sure = surely(scores, at, table, errors[i], length, best) - 2 * slack;
        for (let g = 0; g < table.groups; g++) {
          if (scores[at + g] + errors[i] * table.lengths[g] + length * table.errors[g] < sure) continue;
          this.#compare(i, g * NAMES, Math.min(this.#names, (g + 1) * NAMES), found);
        }
      }
    }
  }

  /**
   * Names as bytes: x·h = (x − m)·(h − n) + m·h + (x − m)·n for any means m and n, and the last term does not depend on h.
   * Both means are taken off because a direction that all share would take up the bytes' range.
   */
  #round(images: Float32Array): RoundedNames {
    const [prototypes, names, width] = [this.#prototypes, this.#names, this.width];
    const mean = meanRow(images.length / width, width, rowsOf(images, width));
    const middle = meanRow(names, width, rowsOf(prototypes, width));
    const values = new Float64Array(width);
    let longest = 0;
    const table = filterTable(Math.ceil(names / NAMES), NAMES, this.#padded, slot => {
      if (slot >= names) return undefined;
      let [bias, norm] = [0, 0];
      for (let d = 0, at = slot * width; d < width; d++, at++) {
        const value = prototypes[at];
        values[d] = value - middle[d];
        bias += value * mean[d];
        norm += value * value;
      }
      longest = Math.max(longest, norm);
      return { values, bias };
    });
    return { table, mean, longest: Math.sqrt(longest) };
  }
}

/** The score that the last of the best names has at least; `best` is room for as many. */
function surely(
  scores: Float32Array,
  at: number,
  { groups, lengths, errors }: FilterTable,
  error: number,
  length: number,
  best: Float64Array,
): number {
  best.fill(Number.NEGATIVE_INFINITY);
  const last = best.length - 1;
  for (let g = 0; g < groups; g++) {
    const least = scores[at + g] - error * lengths[g] - length * errors[g];
    if (least <= best[last]) continue;
    let rank = last;
    for (; rank > 0 && least > best[rank - 1]; rank--) best[rank] = best[rank - 1];
    best[rank] = least;
  }
  return best[last];
}

const rowsOf =
  (matrix: Float32Array, width: number) =>
  (index: number): Float32Array =>
    matrix.subarray(index * width, (index + 1) * width);
