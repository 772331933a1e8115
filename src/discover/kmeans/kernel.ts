/** The inner loops of exact k-means as a WebAssembly module: ONNX Runtime has no product that skips, and JavaScript no vectors. */
import { assemble, type Code, type Memory } from '../../wasm.ts';
import { candidatesCode, dotCode, dotsAtCode, dotsCode, GROUP, touchCode } from './kernel-products.ts';
import { addCode, quantiseCode, squareCode } from './kernel-rows.ts';

export { GROUP };

/** Functions on addresses in the module's memory. */
export interface Kernel {
  readonly memory: Memory;
  /** Dot products of a row with `GROUP` successive rows at `centres`, as float32 at `out`. */
  dots(row: number, centres: number, out: number): void;
  /** As `dots`, with rows that may lie anywhere; and with two of them. */
  dotsAt(row: number, a: number, b: number, c: number, d: number, out: number): void;
  pairAt(row: number, a: number, b: number, out: number): void;
  /** The dot product with one row, the same number to the last bit. */
  dot(row: number, centre: number): number;
  /**
   * Of the float32 scores from one address to another, whole vectors of `GROUP`, the numbers of those that are at most
   * `margin` below the greatest, as int32 at `out`; returns how many.
   */
  candidates(scores: number, end: number, margin: number, out: number): number;
  /** Reads a word of every line of a row, so that it lies in the processor's caches soon. */
  touch(row: number): number;
  /** The squared length of a row in float64. */
  square(row: number): number;
  /** Adds a row to a float64 row, or takes it away (`sign` −1), after rounding to the grid that `magic` stands for. */
  add(row: number, sum: number, magic: number, sign: number): void;
  /**
   * Writes (row − mean) / step, rounded and kept within ±`most`, plus `zero`, as bytes. The squared length of row − mean is
   * stored at `out` as float32, that of what rounding and the limits took away behind it.
   */
  quantise(row: number, mean: number, bytes: number, step: number, most: number, zero: number, out: number): void;
}

/** Rows of a kernel's memory are padded to a multiple of this with zeros. */
const LANES = 16;

/** The padded width of rows. */
export const paddedWidth = (width: number): number => Math.ceil(width / LANES) * LANES;

const factories = new Map<number, () => Kernel>();

// Kernels that were given back, by their widths. Compiled JavaScript that calls one is thrown away together with it.
const spare = new Map<number, Kernel>();
const [MOST_SPARE, SPARE_MS] = [2 ** 27, 10_000];

/** A kernel as `makeKernel` gives it, or one that was given back: its memory has some size and holds anything. */
export function takeKernel(width: number): Kernel {
  const kernel = spare.get(width) ?? makeKernel(width);
  spare.delete(width);
  return kernel;
}

/** Gives a kernel back; for some seconds `takeKernel` may return it, unless its memory is large. */
export function returnKernel(width: number, kernel: Kernel): void {
  if (kernel.memory.buffer.byteLength > MOST_SPARE) return;
  spare.set(width, kernel);
  setTimeout(() => {
    if (spare.get(width) === kernel) spare.delete(width);
  }, SPARE_MS).unref();
}

/** A kernel for rows of `width` values (a padded width) with a memory of its own. */
export function makeKernel(width: number): Kernel {
  const make = factories.get(width) ?? assemble<Kernel>(kernelCodes(width));
  factories.set(width, make);
  return make();
}

const kernelCodes = (width: number): Code[] => [
  dotsCode(width),
  dotsAtCode('dotsAt', GROUP, width),
  dotsAtCode('pairAt', 2, width),
  dotCode(width),
  candidatesCode(),
  touchCode(width),
  squareCode(width),
  addCode(width),
  quantiseCode(width),
];
