/** Operators that move elements without changing them; all throw S3aError SHAPE for shapes and axes that do not fit. */
import { requireFloats, requireIndices, requireOneType } from '../dtype.ts';
import { apply, constant, type Tensor } from '../graph.ts';
import { broadcastShapes, frontAxis, type Shape, sameShape, shapeError, sizeOf } from '../shape.ts';

/** The same elements in another shape; one extent may be −1. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = sizeOf(shape.filter(extent => extent !== -1));
  const full = shape.map(extent => (extent === -1 ? sizeOf(x.shape) / known : extent));
  if (sizeOf(full) !== sizeOf(x.shape) || full.some(extent => !Number.isInteger(extent) || extent < 1)) {
    throw shapeError('Reshape', [x.shape, shape], 'the sizes differ');
  }
  return sameShape(full, x.shape) ? x : apply('Reshape', [x], { shape: full }, [{ dtype: x.dtype, shape: full }])[0];
}

/** Broadcasts to the given shape. */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (!sameShape(broadcastShapes('Expand', x.shape, shape), shape)) {
    throw shapeError('Expand', [x.shape, shape], 'the tensor does not broadcast to the shape');
  }
  return sameShape(x.shape, shape) ? x : apply('Expand', [x], { shape }, [{ dtype: x.dtype, shape }])[0];
}

/** Permutes the axes; the default reverses them. */
export function transpose(x: Tensor, perm: readonly number[] = x.shape.map((_, i) => x.shape.length - 1 - i)): Tensor {
  if (perm.length !== x.shape.length || [...perm].sort((a, b) => a - b).some((axis, i) => axis !== i)) {
    throw shapeError('Transpose', [x.shape, perm], 'not a permutation of the axes');
  }
  const shape = perm.map(axis => x.shape[axis]);
  return apply('Transpose', [x], { perm: [...perm] }, [{ dtype: x.dtype, shape }])[0];
}

/** Joins one or more tensors along one axis; the other extents are equal. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  if (tensors.length === 0) throw shapeError('Concat', [], 'at least one tensor is needed');
  requireOneType('Concat', tensors);
  const front = frontAxis('Concat', tensors[0].shape, axis);
  const shape = [...tensors[0].shape];
  for (const other of tensors.slice(1)) {
    if (other.shape.length !== shape.length || other.shape.some((n, i) => i !== front && n !== tensors[0].shape[i])) {
      throw shapeError('Concat', [tensors[0].shape, other.shape], `extents off axis ${front} differ`);
    }
    shape[front] += other.shape[front];
  }
  if (tensors.length === 1) return tensors[0];
  return apply('Concat', tensors, { axis: front }, [{ dtype: tensors[0].dtype, shape }])[0];
}

/** The part [start, end) of one axis; negative bounds count from the back, and the default end is the axis's. */
export function slice(x: Tensor, axis: number, start: number, end?: number): Tensor {
  const front = frontAxis('Slice', x.shape, axis);
  const extent = x.shape[front];
  const from = start < 0 ? start + extent : start;
  const to = end === undefined ? extent : end < 0 ? end + extent : end;
  if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= extent)) {
    throw shapeError('Slice', [x.shape], `[${start}, ${end ?? ''}) is not inside axis ${front}`);
  }
  if (from === 0 && to === extent) return x;
  const shape = x.shape.map((n, i) => (i === front ? to - from : n));
  return apply('Slice', [x], { starts: [from], ends: [to], axes: [front] }, [{ dtype: x.dtype, shape }])[0];
}

/** Cuts an axis into parts of the given sizes, which add up to its extent. */
export function split(x: Tensor, axis: number, sizes: readonly number[]): Tensor[] {
  const front = frontAxis('split', x.shape, axis);
  if (sizes.reduce((a, b) => a + b, 0) !== x.shape[front]) {
    throw shapeError('split', [x.shape, sizes], `the sizes do not add up to the extent of axis ${front}`);
  }
  let end = 0;
  return sizes.map(size => {
    end += size;
    return slice(x, axis, end - size, end);
  });
}

/** Adds zeros: `pads` holds the number before each axis, then after each axis. */
export function pad(x: Tensor, pads: readonly number[]): Tensor {
  const rank = x.shape.length;
  if (pads.length !== 2 * rank || pads.some(n => n < 0)) {
    throw shapeError('Pad', [x.shape, pads], 'two pads of 0 or more are needed an axis');
  }
  if (pads.every(n => n === 0)) return x;
  const shape = x.shape.map((n, i) => n + pads[i] + pads[i + rank]);
  return apply('Pad', [x], { pads }, [{ dtype: x.dtype, shape }])[0];
}

/**
 * Picks entries of an axis: an embedding lookup when the axis is 0.
 * @param x [..., V, ...]
 * @param indices int32, any shape; values in [0, V)
 * @returns x.shape with the axis replaced by the shape of `indices`
 */
export function gather(x: Tensor, indices: Tensor, axis = 0): Tensor {
  requireIndices('Gather', indices);
  const front = frontAxis('Gather', x.shape, axis);
  const shape = [...x.shape.slice(0, front), ...indices.shape, ...x.shape.slice(front + 1)];
  return apply('Gather', [x, indices], { axis: front }, [{ dtype: x.dtype, shape }])[0];
}

/** Entries of an axis in the order given by plain numbers. */
export function pick(x: Tensor, indices: readonly number[], axis: number): Tensor {
  return gather(x, constant(Int32Array.from(indices), [indices.length]), axis);
}

/**
 * A zero tensor [rows, ...] to which row i of `updates` is added at `indices[i]`: the gradient of a lookup.
 * @param indices int32 [M]
 * @param updates [M, ...]
 */
export function scatterAdd(indices: Tensor, updates: Tensor, rows: number): Tensor {
  if (indices.shape.length !== 1 || indices.shape[0] !== updates.shape[0]) {
    throw shapeError('ScatterAdd', [indices.shape, updates.shape], 'one index a row is needed');
  }
  requireIndices('ScatterAdd', indices);
  requireFloats('ScatterAdd', [updates]);
  const shape = [rows, ...updates.shape.slice(1)];
  return apply('ScatterAdd', [indices, updates], { rows }, [{ dtype: updates.dtype, shape }])[0];
}
