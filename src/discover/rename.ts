/** Realign of `--method auto`: phrases rename a group where its candidates are close, and never break it up. */
import type { NameScores, Partition } from './vote.ts';

/**
 * The label of every image after phrases have spoken. A group that was asked about takes the candidate with the largest
 * product of vote share and share of the phrase scores: two witnesses that do not know of each other. Groups that come to
 * bear one name are one from then on.
 * @param labels [N] vocabulary indices, −1 for unknown
 * @param votes soft votes of every group
 * @param scores what phrases say, a row a group
 * @param asked whether the group had phrases
 */
export function renameGroups(
  labels: Int32Array,
  { clusters }: Partition,
  votes: readonly NameScores[],
  scores: readonly NameScores[],
  asked: readonly boolean[],
): Int32Array {
  const names = scores.map((row, k) => {
    if (!asked[k]) return undefined;
    let best: { name: number; score: number } | undefined;
    row.names.forEach((name, r) => {
      const at = votes[k].names.indexOf(name);
      const score = row.scores[r] * (at < 0 ? 0 : votes[k].scores[at]);
      if (score > (best?.score ?? 0)) best = { name, score };
    });
    return best?.name;
  });
  return labels.map((label, i) => names[clusters[i]] ?? label);
}
