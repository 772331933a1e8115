/** The few names that each image may get: the best of its cluster and its own best. */
import type { Nearest } from './nearest.ts';
import type { Choices } from './smooth.ts';
import type { NameScores, Partition } from './vote.ts';

/** Shares that a name of the list has at least, so that an image can leave its cluster. */
const LEAST_SHARE = 1e-3;
/** Part of the image's own opinion in the start; the rest is its cluster's. */
const OWN = 0.5;

export interface ChoicesOptions {
  /** Embedding width D. */
  width: number;
  /** Names taken of the cluster; default 5. */
  top?: number;
  /** Factor of cosines before the softmax. */
  scale: number;
}

/**
 * Lists of names with their cosines and the chances to start from: (vote of the cluster + ε) · exp(scale · cosine)^½.
 * @param features [N, width]
 * @param prototypes [V, width]
 * @param nearest each image's own names
 * @param votes a row a cluster
 */
export function choicesOf(
  features: Float32Array,
  prototypes: Float32Array,
  nearest: Nearest,
  { clusters }: Partition,
  votes: readonly NameScores[],
  { width, top = 5, scale }: ChoicesOptions,
): Choices {
  const images = clusters.length;
  const size = top + nearest.top;
  const names = new Int32Array(images * size).fill(-1);
  const cosines = new Float32Array(images * size);
  const prior = new Float32Array(images * size);
  const shares = votes.map(row => new Map([...row.names].map((name, r) => [name, row.scores[r]])));
  for (let i = 0; i < images; i++) {
    const begin = i * size;
    let end = begin;
    const add = (name: number, cosine: number): void => {
      if (name < 0 || names.subarray(begin, end).includes(name)) return;
      names[end] = name;
      cosines[end++] = cosine;
    };
    for (let t = 0; t < nearest.top; t++)
      add(nearest.indices[i * nearest.top + t], nearest.scores[i * nearest.top + t]);
    for (const name of votes[clusters[i]].names.subarray(0, top)) {
      add(name, dot(features, i * width, prototypes, name * width, width));
    }
    for (let at = begin; at < end; at++) {
      const share = shares[clusters[i]].get(names[at]) ?? 0;
      prior[at] = (share + LEAST_SHARE) * Math.exp(Math.max(-20, OWN * scale * (cosines[at] - cosines[begin])));
    }
  }
  return { width: size, names, cosines, prior };
}

function dot(a: Float32Array, from: number, b: Float32Array, begin: number, width: number): number {
  let sum = 0;
  for (let d = 0; d < width; d++) sum += a[from + d] * b[begin + d];
  return sum;
}
