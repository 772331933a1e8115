/** What a training computes in: float32, or products in float16 with float32 weights and a loss scale. */
import { lossScaleStart, type Shape } from '../engine/index.ts';

/** As open_clip names them: `amp` is automatic mixed precision in float16. */
export const PRECISIONS = ['fp32', 'amp'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** States of a training that its precision adds, as they begin. */
export function precisionStart(precision: Precision): Record<string, Float32Array> {
  return precision === 'amp' ? lossScaleStart() : {};
}

/** Their shapes, by state name. */
export function precisionShapes(precision: Precision): Record<string, Shape> {
  return Object.fromEntries(Object.keys(precisionStart(precision)).map(name => [name, []]));
}
