/** Transductive smoothing: images that look alike get one name, and names that nobody else bears die out. */
import { S3aError } from '../errors.ts';
import type { NeighbourGraph } from './neighbours.ts';

/** For each image the names it may get, [N, width] vocabulary indices, −1 where it has fewer, with their cosines. */
export interface Choices {
  readonly width: number;
  readonly names: Int32Array;
  readonly cosines: Float32Array;
  /** [N, width] chances to start from, positive where there is a name. */
  readonly prior: Float32Array;
}

export interface SmoothOptions {
  /** Factor of cosines before the softmax. */
  scale: number;
  /** Weight of the neighbours; 0 leaves each image to itself. */
  strength: number;
  /** Weight of an image's own text scores. Default 0.75. */
  text?: number;
  /** Weight of the share of all images that bear a name; default 1: names borne by few become fewer. */
  sparsity?: number;
  /** Default 15. */
  iterations?: number;
}

// A name that is e²⁰ times less likely than the best is as good as impossible; below that, text says nothing.
const FLOOR = -20;

/**
 * The name of every image by mean-field inference in a mixture with a neighbour graph: again and again
 * q_i(w) ∝ exp(text · log p(w | z_i) + strength · Σ_j g_ij q_j(w) + sparsity · log mean_j q_j(w)),
 * with p the softmax of the scaled cosines. It is label propagation (Zhou et al. 2004) with the text as its seed; the form is
 * that of TransCLIP (Zanella et al. 2024), with the mixture's weights in place of its Gaussians.
 * @returns [N] vocabulary indices
 * @throws S3aError SHAPE when sizes do not fit.
 */
export function smooth(choices: Choices, graph: NeighbourGraph, options: SmoothOptions): Int32Array {
  const { width, names, cosines, prior } = choices;
  const { scale, strength, text = 0.75, sparsity = 1, iterations = 15 } = options;
  const images = names.length / width;
  if (graph.start.length !== images + 1 || cosines.length !== names.length || prior.length !== names.length) {
    throw new S3aError('SHAPE', `smooth: ${images} images but a graph of ${graph.start.length - 1}`);
  }
  const seeds = new Float32Array(names.length);
  let shares = new Float32Array(names.length);
  const logits = new Float64Array(width);
  for (let i = 0; i < images; i++) {
    let best = Number.NEGATIVE_INFINITY;
    for (let at = i * width; at < (i + 1) * width; at++) if (names[at] >= 0) best = Math.max(best, cosines[at]);
    for (let c = 0; c < width; c++) {
      const at = i * width + c;
      seeds[at] = text * Math.max(FLOOR, scale * (cosines[at] - best));
      logits[c] = names[at] < 0 ? Number.NEGATIVE_INFINITY : Math.log(prior[at]);
    }
    softmaxInto(logits, shares, i * width);
  }
  const vocabulary = names.reduce((most, name) => Math.max(most, name), 0) + 1;
  const around = new Float64Array(vocabulary);
  for (let round = 0; round < iterations; round++) {
    const masses = new Float64Array(vocabulary);
    for (let at = 0; at < names.length; at++) if (names[at] >= 0) masses[names[at]] += shares[at];
    const next = new Float32Array(shares.length);
    for (let i = 0; i < images; i++) {
      // `around` collects what the neighbours say of every name, and is emptied again by the same walk.
      for (let e = graph.start[i]; e < graph.start[i + 1]; e++) {
        const from = graph.to[e] * width;
        for (let at = from; at < from + width; at++)
          if (names[at] >= 0) around[names[at]] += graph.weight[e] * shares[at];
      }
      for (let c = 0; c < width; c++) {
        const name = names[i * width + c];
        logits[c] =
          name < 0
            ? Number.NEGATIVE_INFINITY
            : seeds[i * width + c] + strength * around[name] + sparsity * Math.log(masses[name] / images + 1e-9);
      }
      softmaxInto(logits, next, i * width);
      for (let e = graph.start[i]; e < graph.start[i + 1]; e++) {
        const from = graph.to[e] * width;
        for (let at = from; at < from + width; at++) if (names[at] >= 0) around[names[at]] = 0;
      }
    }
    shares = next;
  }
  return Int32Array.from({ length: images }, (_, i) => {
    let best = i * width;
    for (let at = best + 1; at < (i + 1) * width; at++) if (shares[at] > shares[best]) best = at;
    return names[best];
  });
}

function softmaxInto(logits: Float64Array, out: Float32Array, at: number): void {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of logits) most = Math.max(most, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  for (let c = 0; c < logits.length; c++) out[at + c] = Math.exp(logits[c] - most) / sum;
}
