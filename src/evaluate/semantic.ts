/** The semantic score: how near in meaning predicted names are to the true ones (METHOD §5). */
import { S3aError } from '../errors.ts';
import { nameNormalizer } from './names.ts';
import type { SentenceEncoder } from './sentence-encoder.ts';

export interface SemanticScorer {
  /**
   * Each image's cosine between the sentence embeddings of its predicted and its true name; 0 where no name was given.
   *
   * Throws S3aError SHAPE when the lengths differ, EVALUATE when there are no images, and what the encoder throws.
   */
  scores(names: readonly string[], truth: readonly string[]): Promise<Float64Array>;
}

/**
 * Scores names by a sentence model; each distinct name is encoded once, however often it is asked about.
 * @param onProgress how many of the new names of a call are encoded
 */
export function createSemanticScorer(
  encoder: SentenceEncoder,
  onProgress?: (done: number, total: number) => void,
): SemanticScorer {
  const vectors = new Map<string, Float32Array>();
  const cosines = new Map<string, number>();
  const normalized = nameNormalizer();
  return {
    async scores(names, truth) {
      if (names.length !== truth.length) {
        throw new S3aError('SHAPE', `semantic score: ${names.length} predicted names for ${truth.length} true names`);
      }
      if (truth.length === 0) throw new S3aError('EVALUATE', 'there are no images to evaluate');
      const given = names.map(normalized);
      const wanted = truth.map(normalized);
      const fresh = [...new Set([...given, ...wanted])].filter(name => name !== '' && !vectors.has(name)).sort();
      if (fresh.length > 0) {
        const { vectors: rows, width } = await encoder.embed(fresh, onProgress);
        fresh.forEach((name, i) => {
          vectors.set(name, rows.subarray(i * width, (i + 1) * width));
        });
      }
      return Float64Array.from(given, (name, i) => {
        // An empty text is no name.
        const [a, b] = [vectors.get(name), vectors.get(wanted[i])];
        if (!a || !b) return 0;
        const pair = `${name}\n${wanted[i]}`;
        const known = cosines.get(pair);
        if (known !== undefined) return known;
        const found = cosine(a, b);
        cosines.set(pair, found);
        return found;
      });
    },
  };
}

/** As sentence-transformers' cos_sim; 0 with a vector of zeros. */
function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return dot / Math.max(Math.sqrt(aa) * Math.sqrt(bb), 1e-12);
}
