/** The three losses of MUST (Li, Savarese & Hoi 2022, arXiv 2206.02967) as graph fragments. */
import {
  abs,
  add,
  exp,
  greater,
  log,
  maskedMean,
  max,
  maximum,
  mean,
  mul,
  neg,
  oneHot,
  reshape,
  square,
  sub,
  sum,
  type Tensor,
  where,
} from '../../engine/index.ts';

/** Names from which on the mean prediction is a moving average (`args.nb_classes>=512` in the published code). */
export const MOVING_FROM = 512;

/**
 * Loss 1a: cross-entropy with the teacher's labels, the mean over the images whose teacher is sure.
 *
 * The published code takes the mean over the sure images alone; a batch without one ends it with a loss that is no number,
 * here it counts 0.
 * @param logProbabilities [B, V] of the student
 * @param labels int32 [B]
 * @param sure [B], 0 or 1
 */
export function instanceLoss(logProbabilities: Tensor, labels: Tensor, sure: Tensor): Tensor {
  const [, names] = logProbabilities.shape;
  return maskedMean(neg(sum(mul(logProbabilities, oneHot(labels, names)), { axes: [1] })), sure);
}

/**
 * Loss 1b, fairness: −1/V Σ_w log p̄_w, p̄ being the mean prediction of the batch. It is least when all names are predicted
 * equally often.
 *
 * With `before` p̄ is the moving average (p̄ of the step before + p̄ of the batch) / 2, begun anew with each epoch, through
 * which the gradient reaches the batch's half alone; the loss is then doubled, as in the published code
 * (engine_self_training.py). All is computed in logarithms: with thousands of names a mean prediction is too small for float32
 * long before it is 0.
 * @param logProbabilities [B, V]
 * @param present [B], 0 for a row without an image, else 1
 * @returns the loss, and log p̄ [V], to be `before` of the next step
 */
export function fairnessLoss(
  logProbabilities: Tensor,
  present: Tensor,
  moving?: { before: Tensor; begins: Tensor },
): { loss: Tensor; average: Tensor } {
  const [batch, names] = logProbabilities.shape;
  const counted = add(logProbabilities, reshape(mul(sub(present, 1), 1e4), [batch, 1]));
  const largest = max(counted, { axes: [0], keepdims: true });
  const total = add(log(sum(exp(sub(counted, largest)), { axes: [0] })), reshape(largest, [names]));
  const now = sub(total, log(maximum(sum(present), 1)));
  if (!moving) return { loss: neg(mean(now)), average: now };
  const { before, begins } = moving;
  const larger = maximum(before, now);
  const halves = mul(add(exp(sub(before, larger)), exp(sub(now, larger))), 0.5);
  const average = where(greater(begins, 0.5), now, add(larger, log(halves)));
  return { loss: mul(mean(average), -2), average };
}

/**
 * Loss 2, masked image modelling: mean |predicted − true| over channels and pixels of the masked patches, the pixels being
 * those of the student's view, normalised as the tower gets them.
 * @param predicted [B, L, 3·P²]
 * @param target [B, L, 3·P²]
 * @param hidden [B, L], 1 where a patch is masked
 */
export function reconstructionLoss(predicted: Tensor, target: Tensor, hidden: Tensor): Tensor {
  return maskedMean(mean(abs(sub(predicted, target)), { axes: [2] }), hidden);
}

/**
 * Loss 3, global-local alignment: mean squared distance of the unit embeddings of image and masked patches. The gradient goes
 * to both.
 * @param patches [B, L, D]
 * @param image [B, D]
 * @param hidden [B, L], 1 where a patch is masked
 */
export function alignmentLoss(patches: Tensor, image: Tensor, hidden: Tensor): Tensor {
  const [batch, width] = image.shape;
  return maskedMean(sum(square(sub(patches, reshape(image, [batch, 1, width]))), { axes: [2] }), hidden);
}
