/** Probabilities of names: of an image's label, and its best few among all names of the vocabulary. */
import { exp, gemm, mul, slice, state, sub, sum, topK } from '../engine/index.ts';
import { blockRows, type ComputeOptions, RowPass, rowCount, takeRows } from './row-pass.ts';

// Scores of a chunk of images, 64 MB.
const MOST_SCORES = 2 ** 24;

export interface NameProbabilities {
  /** [N] of the label, 0 where there is none. */
  readonly own: Float32Array;
  /** Columns of the two arrays below. */
  readonly top: number;
  /** [N, top] rows of the prototypes, best first. */
  readonly indices: Int32Array;
  /** [N, top] */
  readonly probabilities: Float32Array;
}

/**
 * softmax(scale·z·Hᵀ) at the label of every image and at its best names (METHOD §3; the scale is 100 for most CLIPs).
 * @param features [N, width] unit rows
 * @param prototypes [V, width] unit rows
 * @param labels [N] rows of the prototypes, −1 for none
 * @throws S3aError SHAPE when sizes do not fit
 */
export async function nameProbabilities(
  features: Float32Array,
  prototypes: Float32Array,
  labels: Int32Array,
  { width, scale, top = 5, ...options }: ComputeOptions & { width: number; scale: number; top?: number },
): Promise<NameProbabilities> {
  const images = rowCount(features, width, 'image features');
  const names = rowCount(prototypes, width, 'prototypes');
  const best = Math.min(top, names);
  // The prototype of each image's label travels beside its features, so that one pass reads both: [N, 2·width].
  const own = takeRows(
    prototypes,
    width,
    labels.map(label => Math.max(0, label)),
  );
  const pairs = new Float32Array(images * 2 * width);
  for (let i = 0; i < images; i++) {
    pairs.set(features.subarray(i * width, (i + 1) * width), i * 2 * width);
    pairs.set(own.subarray(i * width, (i + 1) * width), (i * 2 + 1) * width);
  }
  const head = state('prototypes', [names, width]);
  const pass = await RowPass.compile(
    { rows: blockRows(images, 2 * width), width: 2 * width, chunk: Math.max(1, Math.floor(MOST_SCORES / names)) },
    rows => {
      const z = slice(rows, 1, 0, width);
      const logits = gemm(z, head, undefined, { transB: true, alpha: scale }); // [B, V]
      const mine = mul(sum(mul(z, slice(rows, 1, width)), { axes: [1], keepdims: true }), scale); // [B, 1]
      // 1 / p = Σ_w exp(logit_w − own logit); it overflows to infinity only where p is 0 in float32.
      const inverse = sum(exp(sub(logits, mine)), { axes: [1] });
      const { values, indices } = topK(logits, best);
      // p of the best is 1 / Σ_w exp(logit_w − best logit), and the others follow from their distance to it.
      const highest = slice(values, 1, 0, 1);
      const first = sum(exp(sub(logits, highest)), { axes: [1] });
      return { inverse, first, ratios: exp(sub(values, highest)), indices };
    },
    options,
  );
  try {
    await pass.set({ prototypes });
    const result = {
      own: new Float32Array(images),
      top: best,
      indices: new Int32Array(images * best),
      probabilities: new Float32Array(images * best),
    };
    await pass.run(pairs, ({ inverse, first, ratios, indices }, start, count) => {
      for (let i = 0; i < count; i++) {
        result.own[start + i] = labels[start + i] < 0 ? 0 : 1 / Number(inverse[i]);
        for (let t = 0; t < best; t++) {
          result.indices[(start + i) * best + t] = Number(indices[i * best + t]);
          result.probabilities[(start + i) * best + t] = Number(ratios[i * best + t]) / Number(first[i]);
        }
      }
    });
    return result;
  } finally {
    await pass.dispose();
  }
}

/**
 * What each label has of the probability of its image's best names, as votes are shared among them: 0 where it is none of
 * them. It does not fall with the size of the vocabulary, as a probability among all names does.
 * @param labels [N] the labels that `found` was made for
 * @returns [N], 0–1
 */
export function sharesOf({ own, top, indices, probabilities }: NameProbabilities, labels: Int32Array): Float32Array {
  return own.map((probability, i) => {
    let [sum, among] = [0, false];
    for (let at = i * top; at < (i + 1) * top; at++) {
      sum += probabilities[at];
      among ||= indices[at] === labels[i];
    }
    return among && sum > 0 ? Math.min(1, probability / sum) : 0;
  });
}

/** `sharesOf` among the best five names, [N]; see `nameProbabilities`. */
export async function labelShares(
  features: Float32Array,
  prototypes: Float32Array,
  labels: Int32Array,
  options: ComputeOptions & { width: number; scale: number },
): Promise<Float32Array> {
  return sharesOf(await nameProbabilities(features, prototypes, labels, { ...options, top: 5 }), labels);
}
