/** Top-k accuracy: how often the true name is among the k best of the vocabulary (METHOD §5). */
import { S3aError } from '../errors.ts';
import { nameNormalizer } from './names.ts';

/** The k of METHOD §5. */
export const TOP_K: readonly number[] = [1, 3, 5, 10];

/**
 * Shares (0–1) of images whose true name is among the k highest scores, for each k. `scores` is [truth.length, names]; `truth` holds
 * columns, −1 for a true name that is not in the vocabulary, which is never right. Of equal scores the lower column comes first.
 *
 * Throws S3aError SHAPE when the sizes do not fit, EVALUATE when there are no images.
 */
export function topKAccuracy(
  scores: Float32Array,
  names: number,
  truth: ArrayLike<number>,
  ks: readonly number[] = TOP_K,
): Record<number, number> {
  if (scores.length !== truth.length * names) {
    throw new S3aError('SHAPE', `topKAccuracy: ${scores.length} scores are not ${truth.length} rows of ${names} names`);
  }
  const ranks = Array.from(truth, (column, i) => {
    if (!(Number.isInteger(column) && column >= -1 && column < names)) {
      throw new S3aError('SHAPE', `topKAccuracy: the true column ${column} of image ${i} is not one of ${names}`);
    }
    return column < 0 ? Number.POSITIVE_INFINITY : rankOf(scores, i * names, names, column);
  });
  return shares(ranks, ks);
}

/**
 * As `topKAccuracy`, from each image's best names in order. A k longer than the shortest list is left out, since it cannot be known.
 *
 * Throws S3aError SHAPE when the lengths differ, EVALUATE when there are no images.
 */
export function topKFromRanked(
  ranked: readonly (readonly string[])[],
  truth: readonly string[],
  ks: readonly number[] = TOP_K,
): Record<number, number> {
  if (ranked.length !== truth.length) {
    throw new S3aError('SHAPE', `topKFromRanked: ${ranked.length} lists of names for ${truth.length} true names`);
  }
  const shortest = ranked.reduce((least, list) => Math.min(least, list.length), Number.POSITIVE_INFINITY);
  const normalized = nameNormalizer();
  const ranks = truth.map((name, i) => {
    const own = normalized(name);
    // An empty text is no name, and never right.
    const rank = own === '' ? -1 : ranked[i].findIndex(other => normalized(other) === own);
    return rank < 0 ? Number.POSITIVE_INFINITY : rank;
  });
  return shares(
    ranks,
    ks.filter(k => k <= shortest),
  );
}

/** How many columns come before this one; a NaN score, of the column itself too, comes last. */
function rankOf(scores: Float32Array, start: number, names: number, column: number): number {
  const own = scores[start + column];
  let rank = 0;
  for (let j = 0; j < names; j++) {
    const other = scores[start + j];
    if (other > own || (other === own && j < column) || (Number.isNaN(own) && !Number.isNaN(other))) rank++;
  }
  return rank;
}

function shares(ranks: readonly number[], ks: readonly number[]): Record<number, number> {
  if (ranks.length === 0) throw new S3aError('EVALUATE', 'there are no images to evaluate');
  return Object.fromEntries(ks.map(k => [k, ranks.filter(rank => rank < k).length / ranks.length]));
}
