/** Reductions, selections and the means built on them; all throw S3aError SHAPE for axes and extents that are not there. */
import { refuseTypes, requireIndices } from '../dtype.ts';
import { apply, constant, type DType, type Tensor } from '../graph.ts';
import { broadcastAxes, broadcastShapes, frontAxis, type Shape, sameShape, shapeError, sizeOf } from '../shape.ts';
import { cast, div, maximum, mul } from './elementwise.ts';
import { expand, reshape } from './layout.ts';

export interface ReduceOptions {
  /** The axes to reduce; default all. */
  axes?: readonly number[];
  /** Keep reduced axes with extent 1. */
  keepdims?: boolean;
}

function reduce(operator: 'ReduceSum' | 'ReduceMean' | 'ReduceMax', x: Tensor, options: ReduceOptions): Tensor {
  refuseTypes(operator, x, operator === 'ReduceMax' ? ['bool'] : ['bool', 'uint8']);
  const { keepdims = false, ...others } = options;
  // Without types `mean(x, 1)` and `{ axis: 1 }` would silently reduce all axes.
  if (
    !Array.isArray(options.axes ?? []) ||
    Object.keys(others).some(name => name !== 'axes') ||
    Object(options) !== options
  ) {
    throw shapeError(operator, [x.shape], 'takes { axes, keepdims }, and axes is a list');
  }
  const axes = (options.axes ?? x.shape.map((_, i) => i)).map(axis => frontAxis(operator, x.shape, axis));
  if (new Set(axes).size !== axes.length) throw shapeError(operator, [x.shape, axes], 'an axis is named twice');
  if (axes.length === 0) return x;
  const shape = keepdims
    ? x.shape.map((n, i) => (axes.includes(i) ? 1 : n))
    : x.shape.filter((_, i) => !axes.includes(i));
  return apply(operator, [x], { axes, keepdims }, [{ dtype: x.dtype, shape }])[0];
}

/** Sums of float16 are taken in float32 and rounded once. */
function wide(operator: 'ReduceSum' | 'ReduceMean', x: Tensor, options: ReduceOptions): Tensor {
  return x.dtype === 'float16'
    ? cast(reduce(operator, cast(x, 'float32'), options), 'float16')
    : reduce(operator, x, options);
}

/** Sum over axes, by default all. */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => wide('ReduceSum', x, options);
/** Mean over axes, by default all. */
export const mean = (x: Tensor, options: ReduceOptions = {}): Tensor => wide('ReduceMean', x, options);
/** Largest entry over axes, by default all; the gradient is shared equally among ties. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('ReduceMax', x, options);

/** Sums the axes along which `shape` was broadcast: the adjoint of broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (!sameShape(broadcastShapes('sumTo', x.shape, shape), x.shape)) {
    throw shapeError('sumTo', [x.shape, shape], 'the second does not broadcast to the first');
  }
  if (sameShape(x.shape, shape)) return x;
  const axes = broadcastAxes(x.shape, shape);
  const columns = sizeOf(shape);
  // Over the first axes: the sum of the rows of a matrix, which has a fast form (spellings.ts).
  if (columns > 1 && axes.every((axis, i) => axis === i)) {
    return reshape(sum(reshape(x, [sizeOf(x.shape) / columns, columns]), { axes: [0] }), shape);
  }
  return reshape(sum(x, { axes, keepdims: true }), shape);
}

/**
 * Mean of the elements whose mask is 1; 0 when no element is.
 * @param x any shape
 * @param mask float32 of the same shape, 0 or 1
 * @returns a scalar
 */
export function maskedMean(x: Tensor, mask: Tensor): Tensor {
  if (!sameShape(x.shape, mask.shape)) throw shapeError('maskedMean', [x.shape, mask.shape], 'the shapes differ');
  return div(sum(mul(x, mask)), maximum(sum(mask), 1));
}

/** Index of the largest entry of an axis as int32, the first of equals; no gradient. */
export function argMax(x: Tensor, axis = -1): Tensor {
  refuseTypes('ArgMax', x, ['bool']);
  const front = frontAxis('ArgMax', x.shape, axis);
  const shape = x.shape.filter((_, i) => i !== front);
  return cast(apply('ArgMax', [x], { axis: front }, [{ dtype: 'int64', shape }])[0], 'int32');
}

/** The k largest entries of the last axis, in falling order, and their int32 indices; no gradient. */
export function topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
  refuseTypes('TopK', x, ['bool']);
  if (!Number.isInteger(k) || k < 1 || k > (x.shape.at(-1) ?? 0))
    throw shapeError('TopK', [x.shape], `k = ${k} is not inside the last axis`);
  const shape = [...x.shape.slice(0, -1), k];
  const [values, indices] = apply('TopK', [x], { k }, [
    { dtype: x.dtype, shape },
    { dtype: 'int64', shape },
  ]);
  return { values, indices: cast(indices, 'int32') };
}

/** int32 indices [...] as float32 rows [..., depth] of one 1; no gradient. */
export function oneHot(indices: Tensor, depth: number): Tensor {
  requireIndices('OneHot', indices);
  return apply('OneHot', [indices], { depth }, [{ dtype: 'float32', shape: [...indices.shape, depth] }])[0];
}

/** A tensor filled with one value. */
export function full(value: number, shape: Shape, dtype: DType = 'float32'): Tensor {
  const one = dtype === 'float64' ? constant(Float64Array.of(value), []) : constant(Float32Array.of(value), []);
  return sizeOf(shape) === 1 ? reshape(cast(one, dtype), shape) : expand(cast(one, dtype), shape);
}
