/** From a loss to the next states (METHOD §3): gradients over the runs of a step, AdamW with layer-wise decay, the teacher's average. */
import type { ClipConfig } from '../clip/towers/config.ts';
import { layerCount, layerId } from '../clip/towers/initialise.ts';
import {
  accumulate,
  adamW,
  clipGradients,
  ema,
  gradientNorm,
  type LossScale,
  mul,
  program,
  squareSums,
  type Tensor,
  type Tensors,
  where,
} from '../engine/index.ts';

/** Gradients summed over the runs of a step. */
export interface RunSums {
  /** The sums with those of this run, states named `accumulated.*`. */
  readonly sums: Tensors;
  /** The means over all runs, of worth in the last one. */
  readonly means: Tensors;
}

/**
 * Gradients of a step of several runs; a step of one run has them at once.
 * @param keep scalar, 0 in the first run, else 1
 */
export function overRuns(gradients: Tensors, runs: number, keep: Tensor): RunSums {
  if (runs === 1) return { sums: {}, means: gradients };
  const sums = accumulate(gradients, keep);
  return { sums, means: mapTensors(gradients, name => mul(sums[`accumulated.${name}`], 1 / runs)) };
}

/** Gradients as the update takes them. */
export interface BoundedGradients {
  readonly gradients: Tensors;
  /** Their norm before the clip. */
  readonly norm: Tensor;
  /** Sums of squares that the norm is made of, by the gradients' names. */
  readonly squares: Tensors;
}

/** Gradients whose norm is at most `clip`; default as they are. */
export function bounded(gradients: Tensors, clip?: number): BoundedGradients {
  const squares = squareSums(gradients);
  if (clip === undefined) return { gradients, norm: gradientNorm(gradients, squares), squares };
  return { ...clipGradients(gradients, clip), squares };
}

export interface UpdateOptions {
  config: ClipConfig;
  weightDecay: number;
  /** Factor of the learning rate from one block to the block before it. */
  layerDecay: number;
  /** Scalars: the rate of the last layer, the number of the update from 1, and the decay d of the teacher's average. */
  learningRate: Tensor;
  step: Tensor;
  emaDecay: Tensor;
  /** What is computed before the update of a large weight, as in `adamW`. */
  waits?: (name: string) => readonly Tensor[];
}

/**
 * AdamW with layer-wise decay, then the teacher's average of the new student.
 * @param student `student.*`
 * @param teacher `teacher.*`, some or all of the student's weights
 * @param gradients by the student's names
 * @returns next values by the names of their states
 */
export function updated(student: Tensors, teacher: Tensors, gradients: Tensors, options: UpdateOptions): Tensors {
  const { config, weightDecay, layerDecay, learningRate, step, emaDecay, waits } = options;
  const stepped = adamW(student, gradients, learningRate, step, {
    weightDecay,
    waits,
    scale: name => layerScale(config, name.slice('student.'.length), layerDecay),
  });
  const learned = mapTensors(teacher, name => stepped[`student${name.slice('teacher'.length)}`]);
  return { ...stepped, ...ema(teacher, learned, emaDecay) };
}

/** Factor of the learning rate of an image-tower weight: decay^(L + 1 − id) (METHOD §3). */
export function layerScale(config: ClipConfig, name: string, decay: number): number {
  return decay ** (layerCount(config) + 1 - layerId(config, name));
}

/**
 * Updates that happen where they are due; elsewhere each state keeps its value.
 * @param due bool; default always
 * @param scaler of mixed precision, which also holds them back where gradients are not finite
 */
export function gated(
  updates: Tensors,
  norm: Tensor,
  { due, scaler }: { due?: Tensor; scaler?: LossScale },
): { updates: Tensors; finite?: Tensor } {
  if (scaler) return scaler.guarded(updates, norm, due);
  if (!due) return { updates };
  const held = program(updates).inputs;
  return { updates: mapTensors(updates, (name, value) => where(due, value, held.get(name)!)) };
}

/** Tensors of the same names. */
export function mapTensors(tensors: Tensors, change: (name: string, tensor: Tensor) => Tensor): Tensors {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, change(name, tensor)]));
}
