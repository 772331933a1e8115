/** How sure labels are: a probability that is right as often as it says, the names that come next, and the margin to them. */
import { confidences } from '../discover/confidence.ts';
import type { NeighbourGraph } from '../discover/neighbours.ts';
import { labelShares, nameProbabilities, sharesOf } from '../discover/probability.ts';
import { type ComputeOptions, type Rows, rowsOf } from '../discover/row-pass.ts';

export interface TrustOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** Factor of cosines before the softmax. */
  scale: number;
  /** [N, width] features that the probabilities of the labels are taken from; default those of the labels. */
  witness?: Float32Array | Rows;
  /** Neighbours of the images by the features of the witness. */
  graph: NeighbourGraph;
  onProgress?: (done: number, total: number) => void;
}

/** Rows of N images. */
export interface Trust {
  /** [N] the probability that the label is right, 0 where there is none; see `confidences`. */
  readonly confidence: Float32Array;
  /** [N] the label's probability among all names less that of the best other one: negative where another is nearer. */
  readonly margin: Float32Array;
  /** Columns of the two arrays below, at most 5. */
  readonly top: number;
  /** [N, top] the nearest names of the image alone, vocabulary indices, best first. */
  readonly names: Int32Array;
  /** [N, top] their probabilities among all names. */
  readonly probabilities: Float32Array;
}

const TOP = 5;
// Images whose features are in memory at once.
const CHUNK = 65_536;

/**
 * Confidence, best names and margin of every label.
 * @param features [N, width] unit rows that the labels come from
 * @param prototypes [V, width] unit rows
 * @param labels [N] rows of the prototypes, −1 for none
 * @throws S3aError SHAPE when sizes do not fit
 */
export async function trustOf(
  features: Float32Array | Rows,
  prototypes: Float32Array,
  labels: Int32Array,
  { width, scale, graph, witness = features, onProgress, ...compute }: TrustOptions,
): Promise<Trust> {
  const rows = rowsOf(features, width, 'image features');
  const before = rowsOf(witness, width, 'image features');
  const top = Math.min(TOP, prototypes.length / width);
  const shares = new Float32Array(rows.count);
  const now = new Float32Array(rows.count);
  const margin = new Float32Array(rows.count);
  const names = new Int32Array(rows.count * top);
  const probabilities = new Float32Array(rows.count * top);
  for (let start = 0; start < rows.count; start += CHUNK) {
    const end = Math.min(start + CHUNK, rows.count);
    const part = labels.subarray(start, end);
    const found = await nameProbabilities(await rows.read(start, end), prototypes, part, {
      ...compute,
      ...{ width, scale, top },
    });
    now.set(found.own, start);
    const options = { ...compute, width, scale };
    shares.set(
      witness === features
        ? sharesOf(found, part)
        : await labelShares(await before.read(start, end), prototypes, part, options),
      start,
    );
    names.set(found.indices, start * top);
    probabilities.set(found.probabilities, start * top);
    onProgress?.(end, rows.count);
  }
  for (let i = 0; i < rows.count; i++) {
    const other = names[i * top] === labels[i] ? i * top + 1 : i * top;
    margin[i] = labels[i] < 0 ? 0 : now[i] - (other < (i + 1) * top ? probabilities[other] : 0);
  }
  return { confidence: confidences(labels, shares, graph), margin, top, names, probabilities };
}
