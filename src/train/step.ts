/** One step of self-training as one graph: both towers, both losses, AdamW and the teacher's average (METHOD §3). */
import type { ClipConfig } from '../clip/towers/config.ts';
import { layerCount, layerId } from '../clip/towers/initialise.ts';
import {
  accumulate,
  adamW,
  add,
  cast,
  clipGradients,
  div,
  ema,
  equal,
  exp,
  gather,
  gemm,
  gradient,
  gradientNorm,
  greater,
  greaterOrEqual,
  input,
  log,
  lossScaling,
  maskedMean,
  maximum,
  mul,
  type Program,
  program,
  reciprocal,
  reshape,
  type Shape,
  squareSums,
  state,
  sub,
  sum,
  type Tensor,
  type Tensors,
  topK,
  where,
} from '../engine/index.ts';
import { keptTokens } from './patch-dropout.ts';
import { type Precision, precisionShapes } from './precision.ts';
import { blockSegments } from './segments.ts';
import { tunedTower } from './tower.ts';
import { type TunePlan, tunePlan } from './tune.ts';

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
}

/**
 * The graph of a step.
 *
 * Inputs: `weak` and `strong` [B, 3, S, S], or with kept activations `weak.0`, … and `strong.0`, …; with patch dropout int32
 * `tokens` [B·K], the tokens that the student sees; int32 `structural` [B], −1 where it is not known; `present` [B], 0 for a row
 * that holds no image, else 1; the scalars `learningRate`, `step` (1 at the first), `emaDecay`, `threshold`,
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
  const { config, batch, names, logitScale, clip, accumulate: runs = 1, gradCheckpointing = false } = options;
  const scaler = options.precision === 'amp' ? lossScaling() : undefined;
  const plan = options.plan ?? tunePlan(config);
  const tower = tunedTower(config, plan, batch, options.precision);
  const [student, teacher] = [tower.trained('student'), tower.trained('teacher')];
  const number = (name: string): Tensor => input(name, 'float32', []);
  const structural = input('structural', 'int32', [batch]);
  const present = input('present', 'float32', [batch]);
  const head = state('head', [names, config.projection_dim]);

  const seen = pseudoLabels(tower.embed('teacher', 'weak'), head, logitScale);
  const mask = mul(cast(greater(seen.confidence, number('threshold')), 'float32'), present);
  const tokens =
    plan.patchDropout > 0 ? input('tokens', 'int32', [batch * keptTokens(config, plan.patchDropout)]) : undefined;
  const z = tower.embed('student', 'strong', tokens);
  const known = mul(cast(greaterOrEqual(structural, 0), 'float32'), present);
  const labels = maximum(structural, 0);
  const { normaliser, logitOf } = labelLogits(z, head, logitScale);
  const instance = maskedMean(sub(normaliser, logitOf(seen.labels)), mask);
  const structuralLoss = maskedMean(sub(normaliser, logitOf(labels)), known);
  const loss = add(mul(instance, number('instanceWeight')), mul(structuralLoss, number('structuralWeight')));

  const recompute = gradCheckpointing ? blockSegments(config, z) : undefined;
  const derived = gradient(scaler ? scaler.scaled(loss) : loss, Object.values(student), { recompute });
  const raw: Tensors = Object.fromEntries(Object.keys(student).map((name, i) => [name, derived[i]]));
  const sums = runs > 1 ? accumulate(raw, number('keep')) : {};
  const summed = runs > 1 ? mapTensors(raw, name => mul(sums[`accumulated.${name}`], 1 / runs)) : raw;
  const averaged = scaler ? scaler.unscaled(summed) : summed;
  const squares = squareSums(averaged);
  const { gradients, norm } =
    clip === undefined ? { gradients: averaged, norm: gradientNorm(averaged, squares) } : clipGradients(averaged, clip);
  // A gradient that the norm still needs would outlive its update.
  const waits = isLean(options) ? (name: string): Tensor[] => [squares[name]] : undefined;
  const due = runs > 1 ? greater(number('apply'), 0.5) : undefined;
  const step = scaler ? scaler.step : number('step');
  const updates = update(options, student, teacher, gradients, step, number, waits);
  const guarded = scaler?.guarded(updates, norm, due);
  return program({
    loss,
    instanceLoss: instance,
    structuralLoss,
    maskShare: div(sum(mask), maximum(sum(present), 1)),
    agreement: maskedMean(cast(equal(seen.labels, labels), 'float32'), known),
    gradientNorm: guarded ? where(guarded.finite, norm, 0) : norm,
    ...(scaler ? { lossScale: scaler.scale } : {}),
    // A sum that is not finite must not be there when the next step begins: 0 times infinity is no number.
    ...(scaler && due ? mapTensors(sums, (_, total) => where(due, 0, total)) : sums),
    ...(guarded ? guarded.updates : due ? gated(updates, due) : updates),
  });
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

/** Factor of the learning rate of an image-tower weight: decay^(L + 1 − id) (METHOD §3). */
export function layerScale(config: ClipConfig, name: string, decay: number): number {
  return decay ** (layerCount(config) + 1 - layerId(config, name));
}

/** The teacher's name for every image, int32 [B], and its probability among all names, [B]. */
export function pseudoLabels(z: Tensor, head: Tensor, scale: number): { labels: Tensor; confidence: Tensor } {
  const logits = gemm(z, head, undefined, { transB: true, alpha: scale }); // [B, V]
  const { values, indices } = topK(logits, 1);
  // The largest probability is 1 / Σ exp(logit − largest logit).
  const confidence = reciprocal(sum(exp(sub(logits, values)), { axes: [1] }));
  return { labels: reshape(indices, [z.shape[0]]), confidence };
}

/**
 * The two parts of cross-entropies with hard labels: log Σ_w exp(logit_w), [B], shared by all, and the logit of a label.
 *
 * A label's logit is the product with its row of the head alone, so the only gradient of size [B, V] is one softmax, and
 * no one-hot matrix is made. The largest logit comes from top-k, which has no gradient: its own cancels in the sum.
 */
function labelLogits(
  z: Tensor,
  head: Tensor,
  scale: number,
): { normaliser: Tensor; logitOf: (labels: Tensor) => Tensor } {
  const logits = gemm(z, head, undefined, { transB: true, alpha: scale });
  const largest = topK(logits, 1).values; // [B, 1]
  const normaliser = add(log(sum(exp(sub(logits, largest)), { axes: [1] })), reshape(largest, [z.shape[0]]));
  return { normaliser, logitOf: labels => mul(sum(mul(z, gather(head, labels)), { axes: [1] }), scale) };
}

/** AdamW with layer-wise decay, then the teacher's average of the new student. */
function update(
  { config, weightDecay = 0.05, layerDecay = 0.65 }: StepOptions,
  student: Tensors,
  teacher: Tensors,
  gradients: Tensors,
  step: Tensor,
  number: (name: string) => Tensor,
  waits?: (name: string) => readonly Tensor[],
): Tensors {
  const stepped = adamW(student, gradients, number('learningRate'), step, {
    weightDecay,
    waits,
    scale: name => layerScale(config, name.slice('student.'.length), layerDecay),
  });
  const learned = mapTensors(teacher, name => stepped[`student${name.slice('teacher'.length)}`]);
  return { ...stepped, ...ema(teacher, learned, number('emaDecay')) };
}

/** Updates that happen where `now` holds; elsewhere each state keeps its value. */
function gated(updates: Tensors, now: Tensor): Tensors {
  const held = program(updates).inputs;
  return mapTensors(updates, (name, value) => where(now, value, held.get(name)!));
}

function mapTensors(tensors: Tensors, change: (name: string, tensor: Tensor) => Tensor): Tensors {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, change(name, tensor)]));
}
