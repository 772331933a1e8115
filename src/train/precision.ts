/** What a training computes in: float32, or products in float16 with float32 weights and a loss scale. */
import { lossScaleStart, type Shape } from '../engine/index.ts';
import { S3aError } from '../errors.ts';

/** As open_clip names them: `amp` is automatic mixed precision in float16. */
export const PRECISIONS = ['fp32', 'amp'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** States of a training that its precision adds, as they begin. */
export function precisionStart(precision: Precision = 'fp32'): Record<string, Float32Array> {
  return precision === 'amp' ? lossScaleStart() : {};
}

/** Their shapes, by state name. */
export function precisionShapes(precision: Precision = 'fp32'): Record<string, Shape> {
  return Object.fromEntries(Object.keys(precisionStart(precision)).map(name => [name, []]));
}

/** What is told where mixed precision is asked for and there is no GPU. */
export const SLOW_HALF = '--precision amp gains nothing on the device cpu, whose products in float16 are slower';

/** The loss scale below which no gradient is what overflows. */
const LEAST_SCALE = 2 ** -24;

/**
 * Ends a training that cannot go on.
 * @param lossScale of mixed precision
 * @throws S3aError DIVERGED when the loss is no number any more, or gradients are infinite at every loss scale
 */
export function checkLoss(loss: number, lossScale: number | undefined, step: number, learningRate: number): void {
  const hint = `Lower the learning rate (it is ${learningRate} for 256 images)`;
  if (!Number.isFinite(loss)) {
    const other = lossScale === undefined ? '.' : ', or use --precision fp32: activations may exceed float16.';
    throw new S3aError('DIVERGED', `the loss is ${loss} at step ${step}`, hint + other);
  }
  if (lossScale === undefined || lossScale > LEAST_SCALE) return;
  throw new S3aError(
    'DIVERGED',
    `gradients are not finite at step ${step}, at any loss scale`,
    `${hint}, or use --precision fp32.`,
  );
}
