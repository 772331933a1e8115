/** How right the labels of a draw are, and what confidences are worth. */
import { evaluateClustering } from '../src/evaluate/clustering.ts';
import type { Context } from './discovery-context.ts';

/** Shares 0–1; `names` and `seconds` (of the processor, without clustering) are what they say. */
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

/** Sums over the labels of one bin of confidence. */
export interface Bin {
  count: number;
  confidence: number;
  right: number;
}

/** What is left of a draw's labels when those less sure than `least` are unknown; counts of images. */
export interface Threshold {
  readonly least: number;
  readonly kept: number;
  readonly right: number;
  /** Images of classes that the vocabulary lacks, and how many of them are unknown. */
  readonly missing: number;
  readonly missingUnknown: number;
}

/** Confidences of a draw, in sums that can be pooled over draws. */
export interface Trust {
  readonly bins: readonly Bin[];
  readonly thresholds: readonly Threshold[];
}

const BINS = 15;
const THRESHOLDS: readonly number[] = [0, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9];

/** The labels by confidence; those that are unknown already have none and count in no bin. */
export function trustOf({ answers }: Context, labels: Int32Array, confidence: Float32Array): Trust {
  const bins = Array.from({ length: BINS }, (): Bin => ({ count: 0, confidence: 0, right: 0 }));
  labels.forEach((label, i) => {
    if (label < 0) return;
    const bin = bins[Math.min(BINS - 1, Math.floor(confidence[i] * BINS))];
    bin.count++;
    bin.confidence += confidence[i];
    bin.right += label === answers[i] ? 1 : 0;
  });
  const thresholds = THRESHOLDS.map(least => {
    const known = labels.map((label, i) => (label >= 0 && confidence[i] >= least ? label : -1));
    return {
      least,
      kept: known.filter(label => label >= 0).length,
      right: known.filter((label, i) => label >= 0 && label === answers[i]).length,
      missing: answers.filter(answer => answer < 0).length,
      missingUnknown: answers.filter((answer, i) => answer < 0 && known[i] < 0).length,
    };
  });
  return { bins, thresholds };
}

/** The same bins, or thresholds, of several draws as if they were one. */
export function poolTrust(draws: readonly Trust[]): Trust {
  const add = <T extends object>(rows: readonly T[]): T => {
    const sum = { ...rows[0] } as Record<string, number>;
    for (const row of rows.slice(1)) {
      for (const [key, value] of Object.entries(row)) if (key !== 'least') sum[key] += value;
    }
    return sum as T;
  };
  return {
    bins: draws[0].bins.map((_, b) => add(draws.map(draw => draw.bins[b]))),
    thresholds: draws[0].thresholds.map((_, t) => add(draws.map(draw => draw.thresholds[t]))),
  };
}

/** Expected calibration error: Σ over bins, share of the labels · |accuracy − mean confidence| (Guo et al. 2017). */
export function calibrationError(bins: readonly Bin[]): number {
  const total = bins.reduce((sum, { count }) => sum + count, 0);
  return bins.reduce((sum, { confidence, right }) => sum + Math.abs(right - confidence), 0) / total;
}
