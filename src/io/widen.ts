/** Float tensors read from a file as float32, in pieces, whatever their width and the order in which their elements lie. */
import type { ByteFile } from './bytes.ts';
import { bfloat16ToFloat32, float16ToFloat32 } from './float16.ts';

/** Bits of an element to its value; each array is the only view of its buffer. */
const DECODERS = {
  F64: { width: 8, decode: (bytes: Uint8Array<ArrayBuffer>) => new Float32Array(new Float64Array(bytes.buffer)) },
  F32: { width: 4, decode: (bytes: Uint8Array<ArrayBuffer>) => new Float32Array(bytes.buffer) },
  F16: { width: 2, decode: (bytes: Uint8Array<ArrayBuffer>) => float16ToFloat32(new Uint16Array(bytes.buffer)) },
  BF16: { width: 2, decode: (bytes: Uint8Array<ArrayBuffer>) => bfloat16ToFloat32(new Uint16Array(bytes.buffer)) },
};

export type FloatDtype = keyof typeof DECODERS;

/** Whether elements of this type can be read as float32. */
export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return Object.hasOwn(DECODERS, dtype);
}

/** Where the elements of a tensor lie, counted in elements; all are counts that have been checked against the file. */
export interface Layout {
  shape: readonly number[];
  /** Steps in the file along each axis; those of C order when left out. */
  strides?: readonly number[];
}

/** One axis: how many steps, how long in the file, how long in the result. */
interface Axis {
  size: number;
  from: number;
  to: number;
}

// Elements that are held besides the result.
const PIECE = 1 << 20;

/**
 * The elements in C order as float32, from a tensor whose first element is at byte `start`.
 *
 * Throws S3aError READ.
 */
export async function readWidened(
  file: ByteFile,
  start: number,
  dtype: FloatDtype,
  { shape, strides = stridesOf(shape) }: Layout,
): Promise<Float32Array<ArrayBuffer>> {
  const { width, decode } = DECODERS[dtype];
  const count = shape.reduce((product, size) => product * size, 1);
  if (count === 0) return new Float32Array();
  const axes = mergedAxes(shape, strides);
  if (dtype === 'F32' && isPlain(axes)) return decode(await file.read(start, count * width));
  const out = new Float32Array(count);
  const copy = async (axes: Axis[], from: number, to: number): Promise<void> => {
    const span = spanOf(axes);
    if (span <= PIECE) {
      gather(decode(await file.read(start + from * width, span * width)), out, axes, 0, to);
      return;
    }
    // The axis with the longest step comes first: as many of its steps at once as fit into a piece.
    const [first, ...rest] = axes;
    const block = Math.max(1, 1 + Math.floor((PIECE - spanOf(rest)) / first.from));
    for (let i = 0; i < first.size; i += block) {
      const size = Math.min(block, first.size - i);
      await copy(size === 1 ? rest : [{ ...first, size }, ...rest], from + i * first.from, to + i * first.to);
    }
  };
  await copy(axes, 0, 0);
  return out;
}

/** The strides of C order. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** Axes by descending step in the file, joined where one continues the other in both orders. */
function mergedAxes(shape: readonly number[], strides: readonly number[]): Axis[] {
  const steps = stridesOf(shape);
  const axes = shape.map((size, i) => ({ size, from: strides[i], to: steps[i] })).filter(({ size }) => size > 1);
  axes.sort((a, b) => b.from - a.from || b.to - a.to);
  const merged: Axis[] = [];
  for (const axis of axes) {
    const outer = merged.at(-1);
    if (outer && outer.from === axis.from * axis.size && outer.to === axis.to * axis.size) {
      merged[merged.length - 1] = { ...axis, size: outer.size * axis.size };
    } else merged.push(axis);
  }
  return merged;
}

function isPlain(axes: Axis[]): boolean {
  return axes.length === 0 || (axes.length === 1 && axes[0].from === 1 && axes[0].to === 1);
}

/** Elements from the first to the last, those between included. */
function spanOf(axes: readonly Axis[]): number {
  return axes.reduce((span, { size, from }) => span + (size - 1) * from, 1);
}

function gather(source: Float32Array, out: Float32Array, axes: readonly Axis[], from: number, to: number): void {
  if (axes.length === 0) {
    out[to] = source[from];
    return;
  }
  const [axis, ...rest] = axes;
  if (rest.length > 0) {
    for (let i = 0; i < axis.size; i++) gather(source, out, rest, from + i * axis.from, to + i * axis.to);
  } else if (axis.from === 1 && axis.to === 1) {
    out.set(source.subarray(from, from + axis.size), to);
  } else {
    for (let i = 0; i < axis.size; i++) out[to + i * axis.to] = source[from + i * axis.from];
  }
}
