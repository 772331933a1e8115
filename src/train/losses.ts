/** The losses of self-training (METHOD §3): cross-entropies of the student with its teacher's labels and with structural labels. */
import {
  add,
  cast,
  div,
  equal,
  exp,
  gather,
  gemm,
  greater,
  greaterOrEqual,
  log,
  maskedMean,
  maximum,
  mul,
  reciprocal,
  reshape,
  sub,
  sum,
  type Tensor,
  topK,
} from '../engine/index.ts';

export interface LossInputs {
  /** [V, D] unit prototypes. */
  head: Tensor;
  /** Factor of the cosines before the softmax. */
  logitScale: number;
  /** int32 [B], −1 where there is none. */
  structural: Tensor;
  /** [B], 0 for a row that holds no image, else 1. */
  present: Tensor;
  /** [V], 0 for a name that the teacher may give and a large negative number for others; default all may be given. */
  instanceNames?: Tensor;
  /** Scalars: τ, w_ins and w_str. */
  threshold: Tensor;
  instanceWeight: Tensor;
  structuralWeight: Tensor;
}

/** Scalars by the names of a step's outputs. */
export interface Losses {
  readonly loss: Tensor;
  /** The terms before their weights, means over the images that each covers. */
  readonly instanceLoss: Tensor;
  readonly structuralLoss: Tensor;
  /** Share of the images whose teacher is sure enough. */
  readonly maskShare: Tensor;
  /** Share of the images with a structural label whose teacher gives the same name. */
  readonly agreement: Tensor;
}

/**
 * L = w_ins · CE(student, ŷ | p_max > τ) + w_str · CE(student, s).
 * @param student [B, D] unit embeddings of the strong view
 * @param teacher [B, D] unit embeddings of the weak view
 */
export function selfTrainingLosses(student: Tensor, teacher: Tensor, inputs: LossInputs): Losses {
  const { head, logitScale, structural, present } = inputs;
  const seen = pseudoLabels(teacher, head, logitScale, inputs.instanceNames);
  const mask = mul(cast(greater(seen.confidence, inputs.threshold), 'float32'), present);
  const known = mul(cast(greaterOrEqual(structural, 0), 'float32'), present);
  const labels = maximum(structural, 0);
  const { normaliser, logitOf } = labelLogits(student, head, logitScale);
  const instanceLoss = maskedMean(sub(normaliser, logitOf(seen.labels)), mask);
  const structuralLoss = maskedMean(sub(normaliser, logitOf(labels)), known);
  return {
    loss: add(mul(instanceLoss, inputs.instanceWeight), mul(structuralLoss, inputs.structuralWeight)),
    instanceLoss,
    structuralLoss,
    maskShare: div(sum(mask), maximum(sum(present), 1)),
    agreement: maskedMean(cast(equal(seen.labels, labels), 'float32'), known),
  };
}

/**
 * The teacher's name for every image, int32 [B], and its probability among the names that it may give, [B].
 * @param open [V], added to the logits: 0 for a name that may be given, a large negative number for others; default all may
 */
export function pseudoLabels(
  z: Tensor,
  head: Tensor,
  scale: number,
  open?: Tensor,
): { labels: Tensor; confidence: Tensor } {
  const logits = gemm(z, head, open, { transB: true, alpha: scale }); // [B, V]
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
