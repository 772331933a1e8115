/** One step of MUST as one graph: both towers, the losses, AdamW and the teacher's average. */
import { visionTower } from '../../clip/towers/vision.ts';
import {
  add,
  cast,
  div,
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
  state,
  sum,
  type Tensor,
  type Tensors,
} from '../../engine/index.ts';
import { pseudoLabels } from '../losses.ts';
import { updated } from '../update.ts';
import { alignmentLoss, fairnessLoss, instanceLoss, MOVING_FROM, reconstructionLoss } from './losses.ts';
import { patchSize, toPatches } from './patches.ts';
import { AVERAGE, HEAD, type MustStates, roleStates } from './states.ts';
import { maskedTower } from './tower.ts';

export interface MustStepOptions extends MustStates {
  /** Rows B of the graph. */
  batch: number;
  /** Factor of the cosines before the softmax; 100 for most CLIPs. */
  logitScale: number;
  weightDecay: number;
  /** Factor of the learning rate from one block to the block before it. */
  layerDecay: number;
}

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
  const { config, weightDecay, layerDecay } = options;
  const roles = { student: roleStates(options, 'student'), teacher: roleStates(options, 'teacher') };
  const { losses, maskShare, average } = mustLosses(options, roles);
  const weighted = (['fairness', 'reconstruction', 'alignment'] as const).map(name =>
    mul(losses[`${name}Loss`], scalar(`${name}Weight`)),
  );
  const loss = weighted.reduce(add, losses.instanceLoss);
  const gradients = gradient(loss, roles.student);
  const next = updated(roles.student, roles.teacher, gradients, {
    ...{ config, weightDecay, layerDecay },
    ...{ learningRate: scalar('learningRate'), step: scalar('step'), emaDecay: scalar('emaDecay') },
  });
  return program({
    loss,
    ...losses,
    maskShare,
    gradientNorm: gradientNorm(gradients),
    ...next,
    ...(average ? { [AVERAGE]: average } : {}),
  });
}

const scalar = (name: string): Tensor => input(name, 'float32', []);

interface MustLosses {
  /** Scalars, before their weights. */
  losses: Record<'instanceLoss' | 'fairnessLoss' | 'reconstructionLoss' | 'alignmentLoss', Tensor>;
  /** Share of the images whose teacher is sure. */
  maskShare: Tensor;
  /** log p̄ [V] for the next step, where it is a moving average. */
  average: Tensor | undefined;
}

/** The teacher sees the whole of the weak view, the student the strong view without its masked patches. */
function mustLosses(
  { config, batch, names, logitScale, trainHead }: MustStepOptions,
  { student, teacher }: { student: Tensors; teacher: Tensors },
): MustLosses {
  const size = config.vision_config.image_size;
  const patch = patchSize(config);
  const pixels = (view: string): Tensor => input(view, 'float32', [batch, 3, size, size]);
  const mask = input('mask', 'float32', [batch, (size / patch) ** 2]);
  const present = input('present', 'float32', [batch]);
  const head = state('head', [names, config.projection_dim]);

  const weak = l2Normalize(visionTower(config, name => teacher[`teacher.${name}`], pixels('weak')));
  const seen = pseudoLabels(weak, trainHead ? teacher[`teacher.${HEAD}`] : head, logitScale);
  const sure = mul(cast(greater(seen.confidence, scalar('threshold')), 'float32'), present);
  const strong = pixels('strong');
  const masked = maskedTower(config, name => student[`student.${name}`], strong, mask);
  const classifier = trainHead ? student[`student.${HEAD}`] : head;
  const logProbabilities = logSoftmax(gemm(masked.image, classifier, undefined, { transB: true, alpha: logitScale })); // [B, V]

  const hidden = mul(mask, reshape(present, [batch, 1]));
  const moving = names >= MOVING_FROM ? { before: state(AVERAGE, [names]), begins: scalar('begins') } : undefined;
  const fairness = fairnessLoss(logProbabilities, present, moving);
  return {
    losses: {
      instanceLoss: instanceLoss(logProbabilities, seen.labels, sure),
      fairnessLoss: fairness.loss,
      reconstructionLoss: reconstructionLoss(masked.pixels, toPatches(strong, patch), hidden),
      alignmentLoss: alignmentLoss(masked.patches, masked.image, hidden),
    },
    maskShare: div(sum(sure), maximum(sum(present), 1)),
    average: moving && fairness.average,
  };
}
