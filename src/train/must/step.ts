/** One step of MUST as one graph: both towers, the three losses, AdamW and the teacher's average. */
import type { ClipConfig } from '../../clip/towers/config.ts';
import type { Parameter } from '../../clip/towers/parameters.ts';
import { visionParameters, visionTower } from '../../clip/towers/vision.ts';
import {
  adamW,
  add,
  cast,
  div,
  ema,
  gemm,
  gradient,
  gradientNorm,
  greater,
  input,
  l2Normalize,
  logSoftmax,
  maximum,
  mul,
  type Program,
  program,
  reshape,
  type Shape,
  state,
  sum,
  type Tensor,
  type Tensors,
} from '../../engine/index.ts';
import { layerScale, pseudoLabels } from '../step.ts';
import { alignmentLoss, fairnessLoss, instanceLoss, MOVING_FROM, reconstructionLoss } from './losses.ts';
import { patchSize } from './masks.ts';
import { maskedParameters, maskedTower, toPatches } from './tower.ts';

export interface MustStepOptions {
  config: ClipConfig;
  /** Rows B of the graph. */
  batch: number;
  /** Names V of the vocabulary. */
  names: number;
  /** Factor of the cosines before the softmax; 100 for most CLIPs. */
  logitScale: number;
  /** Whether the classifier, which starts as the text prototypes, is trained. */
  trainHead: boolean;
  weightDecay: number;
  /** Factor of the learning rate from one block to the block before it. */
  layerDecay: number;
}

/** The name of the trained classifier among a role's weights. */
export const HEAD = 'must.classifier';
const AVERAGE = 'must.log_mean_prediction';

/**
 * The graph of a step.
 *
 * Inputs: `weak` and `strong` [B, 3, S, S]; `mask` [B, L], 1 for a patch that the student does not see; `present` [B], 0 for a
 * row that holds no image, else 1; the scalars `learningRate`, `step` (1 at the first), `begins` (1 in the first step of an
 * epoch, else 0; read from 512 names on), `emaDecay`, `threshold`, `fairnessWeight`, `reconstructionWeight`, `alignmentWeight`.
 *
 * State: that of `mustShapes`, and `head` [V, D] when the classifier is not trained.
 *
 * Outputs: `loss`, `instanceLoss`, `fairnessLoss`, `reconstructionLoss`, `alignmentLoss`, `maskShare` (share of the images whose
 * teacher is sure) and `gradientNorm`.
 */
export function mustProgram(options: MustStepOptions): Program {
  const { config, batch, names, logitScale, trainHead } = options;
  const size = config.vision_config.image_size;
  const patch = patchSize(config);
  const head = state('head', [names, config.projection_dim]);
  const copy = (role: Role): Tensors =>
    Object.fromEntries(roleParameters(options, role).map(({ name, shape }) => [name, state(`${role}.${name}`, shape)]));
  const [student, teacher] = [copy('student'), copy('teacher')];
  const classifier = (role: Tensors): Tensor => (trainHead ? role[HEAD] : head);
  const number = (name: string): Tensor => input(name, 'float32', []);
  const pixels = (name: string): Tensor => input(name, 'float32', [batch, 3, size, size]);
  const present = input('present', 'float32', [batch]);
  const mask = input('mask', 'float32', [batch, (size / patch) ** 2]);

  // The teacher sees the whole of the weak view, the student the strong view without its masked patches.
  const teacherView = l2Normalize(visionTower(config, name => teacher[name], pixels('weak')));
  const seen = pseudoLabels(teacherView, classifier(teacher), logitScale);
  const sure = mul(cast(greater(seen.confidence, number('threshold')), 'float32'), present);
  const strong = pixels('strong');
  const masked = maskedTower(config, name => student[name], strong, mask);
  const logits = gemm(masked.image, classifier(student), undefined, { transB: true, alpha: logitScale });
  const logProbabilities = logSoftmax(logits); // [B, V]

  const hidden = mul(mask, reshape(present, [batch, 1]));
  const moving = names >= MOVING_FROM ? { before: state(AVERAGE, [names]), begins: number('begins') } : undefined;
  const fairness = fairnessLoss(logProbabilities, present, moving);
  const losses = {
    instanceLoss: instanceLoss(logProbabilities, seen.labels, sure),
    fairnessLoss: fairness.loss,
    reconstructionLoss: reconstructionLoss(masked.pixels, toPatches(strong, patch), hidden),
    alignmentLoss: alignmentLoss(masked.patches, masked.image, hidden),
  };
  const weighted = (['fairness', 'reconstruction', 'alignment'] as const).map(name =>
    mul(losses[`${name}Loss`], number(`${name}Weight`)),
  );
  const loss = weighted.reduce(add, losses.instanceLoss);

  const weights: Tensors = Object.fromEntries(Object.entries(student).map(([name, t]) => [`student.${name}`, t]));
  const derived = gradient(loss, Object.values(weights));
  const gradients: Tensors = Object.fromEntries(Object.keys(weights).map((name, i) => [name, derived[i]]));
  const stepped = adamW(weights, gradients, number('learningRate'), number('step'), {
    weightDecay: options.weightDecay,
    scale: name => layerScale(config, name.slice('student.'.length), options.layerDecay),
  });
  const averages: Tensors = Object.fromEntries(Object.entries(teacher).map(([name, t]) => [`teacher.${name}`, t]));
  const learned: Tensors = Object.fromEntries(
    Object.keys(teacher).map(name => [`teacher.${name}`, stepped[`student.${name}`]]),
  );
  return program({
    loss,
    ...losses,
    maskShare: div(sum(sure), maximum(sum(present), 1)),
    gradientNorm: gradientNorm(gradients),
    ...stepped,
    ...ema(averages, learned, number('emaDecay')),
    ...(moving ? { [AVERAGE]: fairness.average } : {}),
  });
}

/** Shapes of everything that training changes, by state name. */
export function mustShapes(options: Pick<MustStepOptions, 'config' | 'names' | 'trainHead'>): Record<string, Shape> {
  const student = roleParameters(options, 'student');
  const named = (prefix: string, parameters: readonly Parameter[]): [string, Shape][] =>
    parameters.map(({ name, shape }) => [`${prefix}.${name}`, shape]);
  return Object.fromEntries([
    ...['student', 'adamw.m.student', 'adamw.v.student'].flatMap(prefix => named(prefix, student)),
    ...named('teacher', roleParameters(options, 'teacher')),
    ...(options.names >= MOVING_FROM ? ([[AVERAGE, [options.names]]] as const) : []),
  ]);
}

type Role = 'student' | 'teacher';

/** The weights of a role. The teacher never sees a masked view, so it has no token and no decoder. */
function roleParameters(
  { config, names, trainHead }: Pick<MustStepOptions, 'config' | 'names' | 'trainHead'>,
  role: Role,
): Parameter[] {
  return [
    ...visionParameters(config),
    ...(role === 'student' ? maskedParameters(config) : []),
    ...(trainHead ? [{ name: HEAD, shape: [names, config.projection_dim] }] : []),
  ];
}
