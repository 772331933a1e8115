/** Many-to-one naming: every cluster takes its own best name, and clusters of one name become one. */
import type { NameScores } from './vote.ts';

/** The name of clusters that have none. */
export const UNKNOWN = -1;

/**
 * The best name of each row, −1 for a row without any.
 *
 * Two rows may take one name: that is how over-clustered images are merged again (METHOD §7), and no cluster is forced to
 * a name that none of its images voted for.
 */
export function nameClusters(rows: readonly NameScores[]): Int32Array {
  return Int32Array.from(rows, ({ names }) => names[0] ?? UNKNOWN);
}

/**
 * Which clusters have close candidates: the second score is more than 1 − margin of the first. Only there may phrases
 * decide; margin 0 asks about none, 1 about all that have two candidates.
 */
export function closeClusters(rows: readonly NameScores[], margin: number): boolean[] {
  return rows.map(({ scores }) => scores.length > 1 && scores[1] > (1 - margin) * scores[0]);
}
