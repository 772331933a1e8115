/** Transductive smoothing: images that look alike get one name, and names that nobody else bears die out. */
import { S3aError } from '../errors.ts';
import type { NeighbourGraph } from './neighbours.ts';
import type { Partition } from './vote.ts';

/** For each image the names it may get, [N, width] vocabulary indices, −1 where it has fewer. */
export interface Choices {
  readonly width: number;
  readonly names: Int32Array;
  /** [N, width] log-likelihoods of the names by the image's text scores, up to a constant an image. */
  readonly text: Float32Array;
  /** [N, width] chances to start from, positive where there is a name. */
  readonly prior: Float32Array;
}

// Weight of an image's own text scores: images of a kind err alike.
const TEXT = 0.5;
// Of the share of all images that bear a name: names borne by few become fewer.
const SPARSITY = 0.25;
const ROUNDS = 15;
// What a name that nobody in the cluster bears counts as: rare, not impossible.
const CLUSTER_FLOOR = 1e-2;
const GLOBAL_FLOOR = 1e-9;

/**
 * The name of every image by mean-field inference in a mixture a cluster with a neighbour graph: again and again
 * q_i(w) ∝ exp(½ · log p(z_i | w) + log Q_c(i)(w) + strength · Σ_j g_ij q_j(w) + ¼ · log Q(w)),
 * with Q_c and Q the means of q over the image's cluster and over all. It is label propagation (Zhou et al. 2004) with the
 * text as its seed; the form is that of TransCLIP (Zanella et al. 2024), with mixtures of names in place of its Gaussians.
 * @param graph of N images
 * @param partition of N images
 * @param strength weight of the neighbours
 * @returns [N] vocabulary indices
 * @throws S3aError SHAPE when sizes do not fit.
 */
export function smooth(
  choices: Choices,
  graph: NeighbourGraph,
  { clusters, count }: Partition,
  strength: number,
): Int32Array {
  const { width, names, text, prior } = choices;
  const images = names.length / width;
  if (graph.start.length !== images + 1 || clusters.length !== images || prior.length !== names.length) {
    const what = `a graph of ${graph.start.length - 1} and clusters of ${clusters.length}`;
    throw new S3aError('SHAPE', `smooth: ${images} images but ${what}`);
  }
  const sizes = new Float64Array(count);
  for (const k of clusters) sizes[k]++;
  const { slots, total } = slotsOf(names, width, clusters, count);
  let shares: Float32Array<ArrayBufferLike> = new Float32Array(names.length);
  let next = new Float32Array(names.length);
  const logits = new Float64Array(width);
  for (let i = 0; i < images; i++) {
    for (let c = 0; c < width; c++) {
      const at = i * width + c;
      logits[c] = names[at] < 0 ? Number.NEGATIVE_INFINITY : Math.log(prior[at]);
    }
    softmaxInto(logits, shares, i * width);
  }
  const vocabulary = names.reduce((most, name) => Math.max(most, name), 0) + 1;
  const around = new Float64Array(vocabulary);
  const bear = new Float64Array(vocabulary);
  const bearHere = new Float64Array(total);
  for (let round = 0; round < ROUNDS; round++) {
    bear.fill(0);
    bearHere.fill(0);
    for (let at = 0; at < names.length; at++) {
      if (names[at] < 0) continue;
      bear[names[at]] += shares[at];
      bearHere[slots[at]] += shares[at];
    }
    for (let i = 0; i < images; i++) {
      // `around` collects what the neighbours say of the image's names; what it holds of other names is never read.
      for (let at = i * width; at < (i + 1) * width; at++) if (names[at] >= 0) around[names[at]] = 0;
      for (let e = graph.start[i]; e < graph.start[i + 1]; e++) {
        const from = graph.to[e] * width;
        for (let at = from; at < from + width; at++) {
          if (names[at] >= 0) around[names[at]] += graph.weight[e] * shares[at];
        }
      }
      for (let c = 0; c < width; c++) {
        const at = i * width + c;
        const name = names[at];
        logits[c] =
          name < 0
            ? Number.NEGATIVE_INFINITY
            : TEXT * text[at] +
              Math.log(bearHere[slots[at]] / sizes[clusters[i]] + CLUSTER_FLOOR) +
              strength * around[name] +
              SPARSITY * Math.log(bear[name] / images + GLOBAL_FLOOR);
      }
      softmaxInto(logits, next, i * width);
    }
    [shares, next] = [next, shares as Float32Array<ArrayBuffer>];
  }
  return Int32Array.from({ length: images }, (_, i) => {
    let best = i * width;
    for (let at = best + 1; at < (i + 1) * width; at++) if (shares[at] > shares[best]) best = at;
    return names[best];
  });
}

/** A number for every pair of a cluster and a name that one of its images may get; pairs of one cluster are neighbours. */
function slotsOf(
  names: Int32Array,
  width: number,
  clusters: Int32Array,
  count: number,
): { slots: Int32Array; total: number } {
  const known = Array.from({ length: count }, () => new Map<number, number>());
  let total = 0;
  const slots = names.map((name, at) => {
    const own = known[clusters[Math.floor(at / width)]];
    let slot = own.get(name);
    if (slot === undefined) {
      slot = total++;
      own.set(name, slot);
    }
    return slot;
  });
  return { slots, total };
}

function softmaxInto(logits: Float64Array, out: Float32Array, at: number): void {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of logits) most = Math.max(most, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  for (let c = 0; c < logits.length; c++) out[at + c] = Math.exp(logits[c] - most) / sum;
}
