/** The few names that each image may get: the best of its cluster and its own best. */
import type { Nearest } from './nearest.ts';
import { type Rows, rowsOf } from './row-pass.ts';
import type { Choices } from './smooth.ts';
import type { NameScores, Partition } from './vote.ts';

/** Shares that a name of the list has at least, so that an image can leave its cluster. */
const LEAST_SHARE = 1e-3;
/** Part of the image's own opinion in the start; the rest is its cluster's. */
const OWN = 0.5;
// A name that is e²⁰ times less likely than the best is as good as impossible; below that, text says nothing.
const FLOOR = -20;
// Rows that are read at a time.
const BLOCK = 16_384;

export interface ChoicesOptions {
  /** Embedding width D. */
  width: number;
  /** Names taken of the cluster; default 5. */
  top?: number;
  /** Factor of cosines before the softmax. */
  scale: number;
  /** [V + 1] where the prototypes of each name begin; default one each. */
  begins?: Int32Array;
}

/**
 * Lists of names with what the text says of them, scale · (cosine − best cosine), and the chances to start from: (vote of
 * the cluster + ε) · exp(½ · text). Features are read once.
 * @param features [N, width]
 * @param prototypes [V, width], or more with `begins`
 * @param nearest each image's own names
 * @param votes a row a cluster
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function choicesOf(
  features: Float32Array | Rows,
  prototypes: Float32Array,
  nearest: Nearest,
  { clusters }: Partition,
  votes: readonly NameScores[],
  { width, top = 5, scale, begins }: ChoicesOptions,
): Promise<Choices> {
  const images = clusters.length;
  const rows = rowsOf(features, width, 'image features');
  const size = top + nearest.top;
  const names = new Int32Array(images * size).fill(-1);
  const text = new Float32Array(images * size);
  const prior = new Float32Array(images * size);
  const shares = votes.map(row => new Map([...row.names].map((name, r) => [name, row.scores[r]])));
  for (let first = 0; first < images; first += BLOCK) {
    const last = Math.min(images, first + BLOCK);
    const block = await rows.read(first, last);
    for (let i = first; i < last; i++) {
      const begin = i * size;
      let end = begin;
      const add = (name: number, score: () => number): void => {
        if (name < 0) return;
        for (let at = begin; at < end; at++) if (names[at] === name) return;
        names[end] = name;
        text[end++] = score();
      };
      for (let t = i * nearest.top; t < (i + 1) * nearest.top; t++) add(nearest.indices[t], () => nearest.scores[t]);
      for (const name of votes[clusters[i]].names.subarray(0, top)) {
        add(name, () => {
          let score = Number.NEGATIVE_INFINITY;
          for (let row = begins?.[name] ?? name; row < (begins?.[name + 1] ?? name + 1); row++) {
            score = Math.max(score, dot(block, (i - first) * width, prototypes, row * width, width));
          }
          return score;
        });
      }
      // Names of the cluster can be no nearer than the image's own nearest.
      const best = text[begin];
      for (let at = begin; at < end; at++) {
        text[at] = Math.max(FLOOR, scale * (text[at] - best));
        prior[at] = ((shares[clusters[i]].get(names[at]) ?? 0) + LEAST_SHARE) * Math.exp(OWN * text[at]);
      }
    }
  }
  return { width: size, names, text, prior };
}

function dot(a: Float32Array, from: number, b: Float32Array, begin: number, width: number): number {
  let sum = 0;
  for (let d = 0; d < width; d++) sum += a[from + d] * b[begin + d];
  return sum;
}
