/** Copies between arrays of which one is wider along some axes. */
import type { TensorData } from './graph.ts';
import { type Shape, sizeOf } from './shape.ts';

/** Copies what both arrays have: of every axis the first entries, as many as the narrower one holds. The rest stays. */
export function copyCommon(from: TensorData, fromShape: Shape, to: TensorData, toShape: Shape): void {
  const common = fromShape.map((extent, axis) => Math.min(extent, toShape[axis]));
  const length = common.at(-1) ?? 1;
  const rows = length === 0 ? 0 : sizeOf(common) / length;
  const start = (row: number, shape: Shape): number => {
    let [rest, place, stride] = [row, 0, shape.at(-1) ?? 1];
    for (let axis = common.length - 2; axis >= 0; axis--) {
      place += (rest % common[axis]) * stride;
      rest = Math.floor(rest / common[axis]);
      stride *= shape[axis];
    }
    return place;
  };
  for (let row = 0; row < rows; row++) {
    const at = start(row, fromShape);
    (to as Float32Array).set(from.subarray(at, at + length) as Float32Array, start(row, toShape));
  }
}
