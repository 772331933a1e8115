/** How sure a label is: a probability that it is right, from what can be seen without any true label. */
import { agreement, type NeighbourGraph } from './neighbours.ts';

/** A logistic map of three log-odds; see `confidences`. */
export interface Calibration {
  readonly bias: number;
  /** Of the label's probability among all names, by the image alone. */
  readonly own: number;
  /** Of the mean of these probabilities over all images with that label. */
  readonly group: number;
  /** Of the share of the image's neighbours that have the same label. */
  readonly neighbours: number;
}

/** Fitted on the development draws of `npm run bench -- methods --fit`; docs/discovery.md says how well it holds on others. */
export const CALIBRATION: Calibration = { bias: 1.7, own: 0.12, group: 1.86, neighbours: 0.18 };

/** Odds are taken of shares within [ε, 1 − ε], so that none is infinite. */
const EPSILON = 1e-3;

/**
 * The probability that each label is right (Platt scaling on three pieces of evidence: the image, its group, its neighbours).
 * @param labels [N] vocabulary indices, −1 for none; those get 0
 * @param own [N] probability of the label among all names
 * @param graph neighbours of the images, by the features that the labels come from
 * @returns [N], 0–1
 */
export function confidences(
  labels: Int32Array,
  own: Float32Array,
  graph: NeighbourGraph,
  calibration: Calibration = CALIBRATION,
): Float32Array {
  const { bias, ...weights } = calibration;
  const { own: mine, group, neighbours } = evidence(labels, own, graph);
  return Float32Array.from(labels, (label, i) => {
    if (label < 0) return 0;
    const logit = bias + weights.own * mine[i] + weights.group * group[i] + weights.neighbours * neighbours[i];
    return 1 / (1 + Math.exp(-logit));
  });
}

/** The three log-odds of every label, [N] each. */
export function evidence(
  labels: Int32Array,
  own: Float32Array,
  graph: NeighbourGraph,
): Record<'own' | 'group' | 'neighbours', Float64Array> {
  const sums = new Map<number, { sum: number; count: number }>();
  labels.forEach((label, i) => {
    const group = sums.get(label) ?? { sum: 0, count: 0 };
    sums.set(label, { sum: group.sum + own[i], count: group.count + 1 });
  });
  return {
    own: Float64Array.from(own, logOdds),
    group: Float64Array.from(labels, label => logOdds(sums.get(label)!.sum / sums.get(label)!.count)),
    neighbours: agreement(graph, labels).map(logOdds),
  };
}

function logOdds(share: number): number {
  return Math.log((share + EPSILON) / (1 - share + EPSILON));
}
