/** Soft votes: an image's best few names share its vote by how near they are, instead of the nearest taking all. */
import { S3aError } from '../errors.ts';
import type { Nearest } from './nearest.ts';
import { type NameScores, nameScores, type Partition } from './vote.ts';

/**
 * M[k, w]: the mean over cluster k's images of softmax(scale · z_i·h_w) among the image's nearest names; with one name an
 * image these are the hard votes of METHOD §2.2.
 * @param nearest of every image [N, top], best first, −1 for none
 * @param scale factor of cosines before the softmax
 * @throws S3aError SHAPE when sizes do not fit.
 */
export function softVotes(
  { top, indices, scores }: Nearest,
  { clusters, count }: Partition,
  scale: number,
): NameScores[] {
  if (indices.length !== clusters.length * top) {
    throw new S3aError('SHAPE', `soft votes: ${indices.length} names for ${clusters.length} images of ${top}`);
  }
  const votes = Array.from({ length: count }, () => new Map<number, number>());
  const sizes = new Int32Array(count);
  const shares = new Float64Array(top);
  clusters.forEach((k, i) => {
    let sum = 0;
    for (let t = 0; t < top; t++) sum += shares[t] = Math.exp(scale * (scores[i * top + t] - scores[i * top]));
    for (let t = 0; t < top; t++) {
      const name = indices[i * top + t];
      if (name < 0) continue;
      votes[k].set(name, (votes[k].get(name) ?? 0) + shares[t] / sum);
    }
    sizes[k]++;
  });
  return votes.map((row, k) => nameScores([...row].map(([name, sum]) => [name, sum / sizes[k]])));
}
