/** How sure a label is: a probability that it is right, from what can be seen without any true label. */
import { agreement, type NeighbourGraph } from './neighbours.ts';

/** A logistic map of three log-odds; see `confidences`. */
export interface Calibration {
  readonly bias: number;
  /** Of the label's share of the image's own vote. */
  readonly own: number;
  /** Of the mean of these shares over all images with that label, its share of the group's votes. */
  readonly group: number;
  /** Of the share of the image's neighbours that have the same label. */
  readonly neighbours: number;
}

/** From `npm run bench -- methods --fit --seeds 100-109`; docs/discovery.md says how well it holds on other draws. */
const CALIBRATION: Calibration = { bias: 1.02, own: 0.17, group: 1.53, neighbours: 0.31 };

/** Odds are taken of shares within [ε, 1 − ε], so that none is infinite. */
const EPSILON = 1e-2;

/**
 * The probability that each label is right (Platt scaling on three pieces of evidence: the image, its group, its neighbours).
 * All three are shares, so that they mean the same whatever the model's scale and the size of the vocabulary.
 * @param labels [N] vocabulary indices, −1 for none; those get 0
 * @param shares [N] the label's share of the probability of its image's best five names (`labelShares`)
 * @param graph neighbours of the images, by the features that the shares come from
 * @returns [N], 0–1
 */
export function confidences(
  labels: Int32Array,
  shares: Float32Array,
  graph: NeighbourGraph,
  calibration: Calibration = CALIBRATION,
): Float32Array {
  const { bias, ...weights } = calibration;
  const { own, group, neighbours } = evidence(labels, shares, graph);
  return Float32Array.from(labels, (label, i) => {
    if (label < 0) return 0;
    const logit = bias + weights.own * own[i] + weights.group * group[i] + weights.neighbours * neighbours[i];
    return 1 / (1 + Math.exp(-logit));
  });
}

/** The three log-odds of every label, [N] each. */
export function evidence(
  labels: Int32Array,
  shares: Float32Array,
  graph: NeighbourGraph,
): Record<'own' | 'group' | 'neighbours', Float64Array> {
  const sums = new Map<number, { sum: number; count: number }>();
  labels.forEach((label, i) => {
    const group = sums.get(label) ?? { sum: 0, count: 0 };
    sums.set(label, { sum: group.sum + shares[i], count: group.count + 1 });
  });
  return {
    own: Float64Array.from(shares, logOdds),
    group: Float64Array.from(labels, label => logOdds(sums.get(label)!.sum / sums.get(label)!.count)),
    neighbours: agreement(graph, labels).map(logOdds),
  };
}

function logOdds(share: number): number {
  return Math.log((share + EPSILON) / (1 - share + EPSILON));
}
