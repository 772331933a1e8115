/** What changes from step to step: the learning rate, the teacher's decay, the images, and how many steps there are (METHOD §3). */
import { S3aError } from '../errors.ts';
import { random } from '../random.ts';

export interface StepPlanOptions {
  images: number;
  /** Images a step. */
  batchSize: number;
  /** Images computed at once; a step then adds up several of these. Default all of the batch. */
  microBatch?: number;
  epochs: number;
  /** Most steps of an epoch; default 1,000. */
  maxSteps?: number;
}

export interface StepPlan {
  /** Images a step, as asked for or smaller where there are too few. */
  readonly batch: number;
  /** Images computed at once; divides `batch`. */
  readonly micro: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  /** A sentence for the reader when the batch is not the one asked for. */
  readonly note: string | undefined;
}

/**
 * Steps of a training: each epoch goes once through the images, without its last partial batch, for at most `maxSteps` steps.
 * @throws S3aError VALUE when a count is not a positive whole number
 */
export function planSteps({ images, batchSize, microBatch, epochs, maxSteps = 1000 }: StepPlanOptions): StepPlan {
  for (const [name, value] of Object.entries({ images, batchSize, microBatch: microBatch ?? 1, epochs, maxSteps })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new S3aError('VALUE', `training: ${name} is ${value}`, 'Give a whole number from 1.');
  }
  const whole = Math.min(batchSize, images);
  const micro = Math.min(microBatch ?? whole, whole);
  const batch = whole - (whole % micro);
  const stepsPerEpoch = Math.min(Math.floor(images / batch), maxSteps);
  const why =
    images < batchSize
      ? images === 1
        ? 'there is 1 image'
        : `there are ${images} images`
      : `it is computed ${micro} images at a time`;
  const note =
    batch === batchSize
      ? undefined
      : `the batch is ${batch} ${batch === 1 ? 'image' : 'images'} instead of ${batchSize}: ${why}`;
  return { batch, micro, stepsPerEpoch, totalSteps: epochs * stepsPerEpoch, note };
}

/**
 * Cosine learning rate without warm-up: `peak` at step 0, falling towards `floor`, which it would reach at `total`.
 * @param step 0 … total − 1
 */
export function cosineRate(step: number, total: number, peak: number, floor: number): number {
  return floor + ((peak - floor) * (1 + Math.cos((Math.PI * step) / total))) / 2;
}

/**
 * Decay of the teacher's moving average after a step: linear from `start` at step 0 to `end` at step `ramp`, then constant.
 * @param step 0, 1, …
 */
export function emaDecay(step: number, start: number, end: number, ramp: number): number {
  return start + (end - start) * (ramp > 0 ? Math.min(step / ramp, 1) : 1);
}

export interface RateSettings {
  /** First and last learning rate for a batch of 256 images; both are scaled by the batch. */
  learningRate: number;
  minLearningRate: number;
  /** Decay of the teacher's average at first, and after `emaSteps` steps. */
  emaStart: number;
  emaEnd: number;
  emaSteps: number;
}

export interface Rates {
  /** Of the last layer. */
  readonly learningRate: number;
  readonly emaDecay: number;
}

/** The rates of a step, 0 … total − 1. */
export function ratesAt(step: number, settings: RateSettings, { batch, totalSteps }: StepPlan): Rates {
  const peak = (settings.learningRate * batch) / 256;
  const floor = (settings.minLearningRate * batch) / 256;
  return {
    learningRate: cosineRate(step, totalSteps, peak, floor),
    emaDecay: emaDecay(step, settings.emaStart, settings.emaEnd, settings.emaSteps),
  };
}

/**
 * The images that an epoch has left, as positions among all: each epoch has its own order, and what is done of it is left out.
 * @param images how many there are
 */
export function imagesLeft(
  images: number,
  { batch, stepsPerEpoch }: StepPlan,
  seed: number,
  { epoch, stepInEpoch }: { epoch: number; stepInEpoch: number },
): Int32Array {
  const order = random(seed, 'epoch', epoch).shuffle(Int32Array.from({ length: images }, (_, i) => i));
  return order.subarray(stepInEpoch * batch, stepsPerEpoch * batch);
}
