/** One step of self-training as one graph: both towers, both losses, AdamW and the teacher's average (METHOD §3). */
import type { ClipConfig } from '../clip/towers/config.ts';
import {
  gradient,
  greater,
  input,
  lossScaling,
  type Program,
  program,
  type Shape,
  state,
  type Tensor,
  type Tensors,
  where,
} from '../engine/index.ts';
import { selfTrainingLosses } from './losses.ts';
import { keptTokens } from './patch-dropout.ts';
import { type Precision, precisionShapes } from './precision.ts';
import { blockSegments } from './segments.ts';
import type { InstanceNames } from './settings.ts';
import { tunedTower } from './tower.ts';
import { type TunePlan, tunePlan } from './tune.ts';
import { bounded, gated, mapTensors, overRuns, updated } from './update.ts';

export interface StepOptions {
  config: ClipConfig;
  /** Rows B of the graph. */
  batch: number;
  /** Names V of the vocabulary. */
  names: number;
  /** Factor of the cosines before the softmax; 100 for most CLIPs. */
  logitScale: number;
  /** Default 0.05. */
  weightDecay?: number;
  /** Factor of the learning rate from one block to the block before it; default 0.65. */
  layerDecay?: number;
  /** Largest norm of the gradient; default none. */
  clip?: number;
  /** Runs that make a step, their gradients averaged; default 1. */
  accumulate?: number;
  /** What is trained; default the whole image tower. */
  plan?: TunePlan;
  /** The student's blocks are computed again in the backward pass and not kept; default false. Changes no bit. */
  gradCheckpointing?: boolean;
  /** Default fp32. */
  precision?: Precision;
  /** Names that the teacher may give an image; default all. */
  instanceNames?: InstanceNames;
}

/**
 * The graph of a step.
 *
 * Inputs: `weak` and `strong` [B, 3, S, S], or with kept activations `weak.0`, … and `strong.0`, …; with patch dropout int32
 * `tokens` [B·K], the tokens that the student sees; int32 `structural` [B], −1 where it is not known; `present` [B], 0 for a row
 * that holds no image, else 1; with the instance names `found` also `instanceNames` [V], 0 for a name that the teacher may give and
 * a large negative number for others; the scalars `learningRate`, `step` (1 at the first), `emaDecay`, `threshold`,
 * `instanceWeight`, `structuralWeight`; with `accumulate` above 1 also `keep` (0 in the first run of a step, else 1) and
 * `apply` (1 in the last, else 0). With `amp` there is no `step`: the graph counts the steps that were not skipped.
 *
 * State: `student.*`, `teacher.*`, `adamw.m.student.*` and `adamw.v.student.*` of what is trained, `frozen.*` of what is not,
 * and `head` [V, D], the unit prototypes. With `amp` also `scaler.*` (`lossScaling`); a step whose gradients are not finite
 * changes nothing else.
 *
 * Outputs: `loss`, `instanceLoss`, `structuralLoss`, `maskShare`, `agreement` (share of the images with a structural label that
 * the teacher gives the same name) and `gradientNorm`, before the clip; with `amp` also `lossScale`, that of this step, and a
 * norm of 0 where the step was skipped. With `accumulate` the terms are means over the
 * images of one run, so a step is the mean of its runs.
 */
export function stepProgram(options: StepOptions): Program {
  const { config, batch, names, logitScale, precision, instanceNames } = options;
  const plan = options.plan ?? tunePlan(config);
  const tower = tunedTower(config, plan, batch, precision);
  const tokens =
    plan.patchDropout > 0 ? input('tokens', 'int32', [batch * keptTokens(config, plan.patchDropout)]) : undefined;
  const student = tower.embed('student', 'strong', tokens);
  const losses = selfTrainingLosses(student, tower.embed('teacher', 'weak'), {
    head: state('head', [names, config.projection_dim]),
    logitScale,
    structural: input('structural', 'int32', [batch]),
    present: input('present', 'float32', [batch]),
    instanceNames: instanceNames === 'found' ? input('instanceNames', 'float32', [names]) : undefined,
    threshold: scalar('threshold'),
    instanceWeight: scalar('instanceWeight'),
    structuralWeight: scalar('structuralWeight'),
  });
  const roles = { student: tower.trained('student'), teacher: tower.trained('teacher') };
  return program({ ...losses, ...stepUpdates(losses.loss, student, roles, options) });
}

const scalar = (name: string): Tensor => input(name, 'float32', []);

/**
 * What a step returns of its gradients, and the next states.
 * @param student [B, D] the embeddings that the loss comes from
 * @param roles what is trained of each
 */
function stepUpdates(
  loss: Tensor,
  student: Tensor,
  roles: { student: Tensors; teacher: Tensors },
  options: StepOptions,
): Tensors {
  const { config, clip, accumulate: runs = 1, gradCheckpointing = false, precision } = options;
  const { weightDecay = 0.05, layerDecay = 0.65 } = options;
  const scaler = precision === 'amp' ? lossScaling() : undefined;
  const recompute = gradCheckpointing ? blockSegments(config, student) : undefined;
  const derived = gradient(scaler ? scaler.scaled(loss) : loss, roles.student, { recompute });
  const { sums, means } = overRuns(derived, runs, scalar('keep'));
  const { gradients, norm, squares } = bounded(scaler ? scaler.unscaled(means) : means, clip);
  const next = updated(roles.student, roles.teacher, gradients, {
    ...{ config, weightDecay, layerDecay },
    ...{ learningRate: scalar('learningRate'), step: scaler?.step ?? scalar('step'), emaDecay: scalar('emaDecay') },
    // A gradient that the norm still needs would outlive its update.
    waits: isLean(options) ? name => [squares[name]] : undefined,
  });
  const due = runs > 1 ? greater(scalar('apply'), 0.5) : undefined;
  const { updates, finite } = gated(next, norm, { due, scaler });
  return {
    gradientNorm: finite ? where(finite, norm, 0) : norm,
    ...(scaler ? { lossScale: scaler.scale } : {}),
    // A sum that is not finite must not be there when the next step begins: 0 times infinity is no number.
    ...(scaler && due ? mapTensors(sums, (_, total) => where(due, 0, total)) : sums),
    ...updates,
  };
}

/**
 * Whether the step is to be compiled `lean`: each gradient can be gone once its weight is updated. A clip needs the norm of all
 * before the first update, as does the question whether all are finite, and sums over several runs keep them in any case.
 */
export function isLean({
  clip,
  accumulate: runs = 1,
  gradCheckpointing = false,
  precision,
}: Pick<StepOptions, 'clip' | 'accumulate' | 'gradCheckpointing' | 'precision'>): boolean {
  return gradCheckpointing && clip === undefined && runs === 1 && precision !== 'amp';
}

/** Shapes of everything that training changes, by state name; `head` and `frozen.*` are not among it. */
export function trainedShapes(
  config: ClipConfig,
  plan = tunePlan(config),
  precision?: Precision,
): Record<string, Shape> {
  const roles = ['student', 'teacher', 'adamw.m.student', 'adamw.v.student'];
  const trained = plan.trained.flatMap(({ name, shape }) => roles.map(role => [`${role}.${name}`, shape]));
  return { ...Object.fromEntries(trained), ...precisionShapes(precision) };
}
