/** Top-k accuracy: how often the true name is among the k best of the vocabulary (METHOD §5). */
import { S3aError } from '../errors.ts';
import { nameNormalizer } from './names.ts';

/** The k of METHOD §5. */
export const TOP_K: readonly number[] = [1, 3, 5, 10];

/**
 * Shares (0–1) of images whose true name is among the first k of their best names, in order, for each k. A k longer than the
 * shortest list is left out, since it cannot be known.
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

function shares(ranks: readonly number[], ks: readonly number[]): Record<number, number> {
  if (ranks.length === 0) throw new S3aError('EVALUATE', 'there are no images to evaluate');
  return Object.fromEntries(ks.map(k => [k, ranks.filter(rank => rank < k).length / ranks.length]));
}
