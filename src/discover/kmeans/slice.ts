/** Some of the images of a clustering in a WebAssembly memory, with their lengths, their bytes for the filter, and tables. */
import { ScoreFilter } from './filter.ts';
import { GROUP, type Kernel, paddedWidth, returnKernel, takeKernel } from './kernel.ts';
import { meanRow, stepOf } from './rounding.ts';

/** Bytes of a memory that rows may take; addresses end at 4 GB, and tables lie behind the rows. */
export const MOST_BYTES = 3 * 2 ** 30;
const PAGE = 65536;
// Images fewer than this are compared with every centre: the filter would not pay for its start.
const FILTERED = 4096;
/** The address of the mean that bytes are about. */
const MEAN = 512;

/** Images as bytes: (row − mean) / step, with the lengths of what they stand for and of what they lost. */
export interface QuantisedRows {
  readonly filter: ScoreFilter;
  readonly mean: Float32Array;
  readonly step: number;
  /** [N] |row − mean|², as float32 has it; of rows whose bytes were asked for, as are the errors. */
  readonly squares: Float32Array;
  /** [N] at least the length of what the bytes lost of a row. */
  readonly errors: Float32Array;
  /** What float32 may do to a square, as a share of it. */
  readonly doubt: number;
}

/** Rows that are loaded once and compared many times. */
export class ImageSlice {
  readonly count: number;
  readonly width: number;
  /** The width in memory. */
  readonly padded: number;
  readonly kernel: Kernel;
  /** [N] squared lengths. */
  readonly norms: Float64Array;
  /** An address with room for 64 numbers. */
  readonly scratch = 0;
  readonly #rows: number;
  readonly #bytes: number;
  readonly #end: number;
  #loaded = 0;
  #quantised: Promise<QuantisedRows> | undefined;
  #asBytes: QuantisedRows | undefined;
  /** Rows that are bytes already. */
  #made = 0;

  constructor(count: number, width: number) {
    this.count = count;
    this.width = width;
    this.padded = paddedWidth(width);
    this.kernel = takeKernel(this.padded);
    this.norms = new Float64Array(count);
    this.#rows = MEAN + 4 * this.padded;
    this.#bytes = this.#rows + 4 * this.padded * count;
    this.#end = this.#bytes + (count >= FILTERED ? this.padded * count : 0);
    this.reserve(0);
    if (this.padded > width) new Uint8Array(this.kernel.memory.buffer, 0, this.#end).fill(0);
  }

  /** Gives the memory back; nothing may be asked of the slice after this. */
  close(): void {
    returnKernel(this.padded, this.kernel);
  }

  /** Makes room for tables and returns their address; what lay there before stays. */
  reserve(bytes: number): number {
    const missing = this.#end + bytes - this.kernel.memory.buffer.byteLength;
    if (missing > 0) this.kernel.memory.grow(Math.ceil(missing / PAGE));
    return this.#end;
  }

  /** The address of a row. */
  row(index: number): number {
    return this.#rows + 4 * this.padded * index;
  }

  /** The values of a row, until the memory grows. */
  values(index: number): Float32Array {
    return new Float32Array(this.kernel.memory.buffer, this.row(index), this.width);
  }

  /**
   * The bytes of `count` rows from `index` on, until the memory grows; `quantised` must have given its answer. They are made
   * when they are first asked for, since the exact products that follow find their rows in the processor's caches then.
   */
  bytes(index: number, count: number): Uint8Array {
    this.#make(index + count);
    return new Uint8Array(this.kernel.memory.buffer, this.#bytes + this.padded * index, this.padded * count);
  }

  /** Appends rows [m, width]. */
  append(block: Float32Array): void {
    const { width, padded } = this;
    const memory = new Float32Array(this.kernel.memory.buffer, this.#rows, padded * this.count);
    const end = this.#loaded + block.length / width;
    if (padded === width) memory.set(block, this.#loaded * padded);
    else {
      for (let i = this.#loaded, from = 0; i < end; i++, from += width) {
        memory.set(block.subarray(from, from + width), i * padded);
      }
    }
    for (; this.#loaded < end; this.#loaded++) {
      this.norms[this.#loaded] = this.kernel.square(this.row(this.#loaded));
    }
  }

  /** How rows become bytes, or undefined when they are too few for that to pay. */
  async quantised(): Promise<QuantisedRows | undefined> {
    if (this.count < FILTERED) return undefined;
    this.#quantised ??= this.#scale();
    return this.#quantised;
  }

  async #scale(): Promise<QuantisedRows> {
    const filter = await ScoreFilter.open(this.padded, GROUP);
    const { buffer } = this.kernel.memory;
    const row = (index: number): Float32Array => this.values(index);
    const mean = meanRow(this.count, this.width, row);
    new Float32Array(buffer, MEAN, this.padded).fill(0).set(mean);
    const [squares, errors] = [new Float32Array(this.count), new Float32Array(this.count)];
    this.#asBytes = {
      filter,
      mean,
      step: stepOf(this.count, mean, filter.most, row),
      squares,
      errors,
      doubt: (this.padded / 4 + 16) * 2 ** -22,
    };
    return this.#asBytes;
  }

  /** Makes the bytes of all rows before `end` that have none yet. */
  #make(end: number): void {
    if (this.#made >= end) return;
    const { filter, step, squares, errors } = this.#asBytes!;
    const out = new Float32Array(this.kernel.memory.buffer, this.scratch, 2);
    for (let i = this.#made; i < end; i++) {
      const bytes = this.#bytes + this.padded * i;
      this.kernel.quantise(this.row(i), MEAN, bytes, step, filter.most, filter.zero, this.scratch);
      squares[i] = out[0];
      // Sums of float32 numbers, and differences that were rounded to float32.
      errors[i] = Math.sqrt(out[1]) * 1.0001 + 1e-6 * Math.sqrt(out[0]);
    }
    this.#made = end;
  }
}
