/** How right the labels of a draw are, and what confidences are worth. */
import { evaluateClustering } from '../src/evaluate/clustering.ts';
import type { Context } from './discovery-context.ts';

/** Shares 0–1; `names` and `seconds` are what they say. */
export interface Scores {
  readonly top1: number;
  /** Best one-to-one match of groups and classes; all unknown images are one group. */
  readonly clusters: number;
  /** Of the true names that the vocabulary has. */
  readonly recall: number;
  readonly unknown: number;
  readonly names: number;
  readonly seconds: number;
}

export function scoresOf({ answers, truth }: Context, labels: Int32Array, seconds: number): Scores {
  const right = labels.reduce((n, label, i) => n + (label >= 0 && label === answers[i] ? 1 : 0), 0);
  const wanted = new Set(answers.filter(answer => answer >= 0));
  const given = new Set(labels.filter(label => label >= 0));
  return {
    top1: right / labels.length,
    clusters: evaluateClustering(labels, truth).accuracy,
    recall: [...wanted].filter(name => given.has(name)).length / wanted.size,
    unknown: labels.filter(label => label < 0).length / labels.length,
    names: given.size,
    seconds,
  };
}

/** One bin of a reliability table. */
export interface Bin {
  readonly count: number;
  /** Means over the bin. */
  readonly confidence: number;
  readonly accuracy: number;
}

/** Equal bins of confidence, and the expected calibration error: Σ share · |accuracy − confidence| (Guo et al. 2017). */
export function calibrationOf(
  confidence: ArrayLike<number>,
  right: ArrayLike<number>,
  bins = 15,
): { ece: number; table: Bin[] } {
  const sums = Array.from({ length: bins }, () => ({ count: 0, confidence: 0, right: 0 }));
  for (let i = 0; i < confidence.length; i++) {
    const bin = sums[Math.min(bins - 1, Math.floor(confidence[i] * bins))];
    bin.count++;
    bin.confidence += confidence[i];
    bin.right += right[i];
  }
  const table = sums.map(({ count, confidence: c, right: r }) => ({
    count,
    confidence: c / count,
    accuracy: r / count,
  }));
  const ece = table.reduce(
    (sum, { count, confidence: c, accuracy }) =>
      count === 0 ? sum : sum + (count / confidence.length) * Math.abs(accuracy - c),
    0,
  );
  return { ece, table };
}
