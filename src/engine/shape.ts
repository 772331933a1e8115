/** Static shapes: sizes, axes and broadcasting, with errors that name the operator and the shapes involved. */
import { S3aError } from '../errors.ts';

/** The extents of a tensor, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** `[2, 3]` as it is printed in messages. */
export function showShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** The error every operator throws when shapes do not fit: it names the operator and all shapes. */
export function shapeError(operator: string, shapes: readonly Shape[], rule: string): S3aError {
  return new S3aError('SHAPE', `${operator} of ${shapes.map(showShape).join(' and ')}: ${rule}`);
}

/** Whether all extents are equal. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i]);
}

/**
 * The shape two tensors broadcast to, by the rules of ONNX and numpy.
 * @throws S3aError SHAPE when an axis differs and neither extent is 1.
 */
export function broadcastShapes(operator: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const out: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) throw shapeError(operator, [a, b], `axis ${i} does not broadcast`);
    out.push(x === 1 ? y : x);
  }
  return out;
}

/**
 * An axis counted from the front; negative axes count from the back.
 * @throws S3aError SHAPE when the axis is outside the shape.
 */
export function frontAxis(operator: string, shape: Shape, axis: number): number {
  const front = axis < 0 ? axis + shape.length : axis;
  if (!Number.isInteger(front) || front < 0 || front >= shape.length) {
    throw shapeError(operator, [shape], `axis ${axis} does not exist`);
  }
  return front;
}

/** The axes of `from` that must be summed for a gradient of shape `from` to become one of shape `to`. */
export function broadcastAxes(from: Shape, to: Shape): number[] {
  const lead = from.length - to.length;
  return from.map((_, axis) => axis).filter(axis => axis < lead || (to[axis - lead] === 1 && from[axis] !== 1));
}
