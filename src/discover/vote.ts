/** The vote (METHOD §2.2–2.3): clusters elect names one to one, images move to the nearest elected name, and again. */
import { S3aError } from '../errors.ts';
import { assignSparse } from './assign-sparse.ts';
import { NameSearch } from './nearest.ts';
import { type ComputeOptions, type Rows, rowCount, rowsOf, takeRows } from './row-pass.ts';

/** The names that have a score in one row of a sparse [K, V] matrix, by falling score, then by rising index. */
export interface NameScores {
  readonly names: Int32Array;
  readonly scores: Float64Array;
}

/** Images sorted into clusters 0 … count − 1, none of them empty. */
export interface Partition {
  readonly clusters: Int32Array;
  readonly count: number;
}

export interface VoteRound {
  /** The elected names W by rising vocabulary index; one that attracts no image is in no label and drops out. */
  readonly names: Int32Array;
  /** [N] the elected name nearest to each image, as vocabulary index. */
  readonly labels: Int32Array;
}

export interface VoteResult {
  /** As many as asked for; from a fixed point on they are equal. */
  readonly rounds: readonly VoteRound[];
  /** The round from which on nothing changes, counted from 1; undefined when the last round still changed labels. */
  readonly fixedPoint: number | undefined;
  /** What the last round counted, before its re-assignment: the clusters that the prompt step asks about (METHOD §2.4). */
  readonly counted: { readonly partition: Partition; readonly votes: readonly NameScores[] };
}

/**
 * What becomes of a cluster that wins no name any of its images voted for: all other names tie at zero votes. `first`
 * gives it the first free names of the vocabulary, as scipy and the reference do; `unnamed` gives it none.
 */
export type Starved = 'first' | 'unnamed';

export interface VoteOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** Default 3. */
  rounds?: number;
  /** Default `first`. */
  starved?: Starved;
  /** [N] the name nearest to each image in the whole vocabulary, where it is known already. */
  nearest?: Int32Array;
  /** A search to share with other steps; otherwise one is made and disposed. */
  search?: NameSearch;
}

/**
 * Names clusters and labels images by repeated votes (METHOD §2.2–2.3).
 * @param features [N, width] unit image features, or rows that need not be in memory
 * @param prototypes [V, width] unit text prototypes
 * @param clusters [N] cluster of every image, any integers
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function vote(
  features: Float32Array | Rows,
  prototypes: Float32Array,
  clusters: Int32Array,
  options: VoteOptions,
): Promise<VoteResult> {
  const { width, rounds: count = 3, starved = 'first' } = options;
  const images = rowsOf(features, width, 'image features').count;
  const vocabulary = rowCount(prototypes, width, 'prototypes');
  if (clusters.length !== images || (options.nearest && options.nearest.length !== images)) {
    throw new S3aError('SHAPE', `vote: ${images} images but ${clusters.length} cluster labels`);
  }
  if (!Number.isInteger(count) || count < 1) throw new S3aError('VALUE', `vote: ${count} rounds`);
  const search = options.search ?? new NameSearch(width, options);
  try {
    const nearest = options.nearest ?? (await search.nearest(features, prototypes)).indices;
    let partition = partitionOf(clusters);
    let votes = countVotes(nearest, partition);
    const rounds: VoteRound[] = [];
    let fixedPoint: number | undefined;
    while (rounds.length < count) {
      if (fixedPoint !== undefined) {
        rounds.push(rounds.at(-1)!);
        continue;
      }
      if (rounds.length > 0) {
        partition = partitionOf(rounds.at(-1)!.labels);
        votes = countVotes(nearest, partition);
      }
      const names = electNames(votes, vocabulary, starved);
      const labels = await reassign(search, features, prototypes, names);
      if (rounds.at(-1)?.labels.every((label, i) => label === labels[i])) fixedPoint = rounds.length;
      rounds.push({ names, labels });
    }
    return { rounds, fixedPoint, counted: { partition, votes } };
  } finally {
    if (!options.search) await search.dispose();
  }
}

/** Clusters numbered 0 … count − 1 by rising label; labels that no image has leave no gap. */
export function partitionOf(labels: Int32Array): Partition {
  const values = [...new Set(labels)].sort((a, b) => a - b);
  const rank = new Map(values.map((value, i) => [value, i]));
  return { clusters: labels.map(label => rank.get(label)!), count: values.length };
}

/**
 * M[k, w]: the share of cluster k's images whose nearest name is w (METHOD §2.2), one sparse row a cluster.
 * @param nearest [N] vocabulary indices
 */
export function countVotes(nearest: Int32Array, { clusters, count }: Partition): NameScores[] {
  const votes = Array.from({ length: count }, () => new Map<number, number>());
  const sizes = new Int32Array(count);
  nearest.forEach((name, image) => {
    const row = votes[clusters[image]];
    row.set(name, (row.get(name) ?? 0) + 1);
    sizes[clusters[image]]++;
  });
  return votes.map((row, k) => nameScores([...row].map(([name, n]) => [name, n / sizes[k]])));
}

/** A sparse row in its order. */
export function nameScores(entries: readonly (readonly [name: number, score: number])[]): NameScores {
  const sorted = [...entries].sort(([a, x], [b, y]) => y - x || a - b);
  return { names: Int32Array.from(sorted, ([name]) => name), scores: Float64Array.from(sorted, ([, score]) => score) };
}

/** The names of the highest scores, at most `count` (METHOD §2.4: 3); the lower vocabulary index first among equals. */
export function topNames({ names }: NameScores, count = 3): number[] {
  return [...names.subarray(0, count)];
}

/**
 * The one-to-one assignment of rows to names with the greatest sum of scores, among equals the one that scipy's
 * linear_sum_assignment finds on the dense matrix.
 * @param vocabulary number of names V
 * @returns the name of every row, −1 for none
 */
export function assignNames(rows: readonly NameScores[], vocabulary: number, starved: Starved = 'first'): Int32Array {
  const names = assignSparse(rows, vocabulary);
  return starved === 'first' ? names : names.map((name, k) => (rows[k].names.includes(name) ? name : -1));
}

/** The assigned names W by rising index, clusters without a name left out. */
export function electNames(rows: readonly NameScores[], vocabulary: number, starved?: Starved): Int32Array {
  return assignNames(rows, vocabulary, starved)
    .filter(name => name >= 0)
    .sort();
}

/**
 * Moves every image to the nearest of the chosen names, argmax_{w ∈ W} z_i·h_w (METHOD §2.3).
 * @param names vocabulary indices by rising index
 * @returns [N] vocabulary indices
 */
export async function reassign(
  search: NameSearch,
  features: Float32Array | Rows,
  prototypes: Float32Array,
  names: Int32Array,
): Promise<Int32Array> {
  const chosen = takeRows(prototypes, search.width, names);
  const { indices } = await search.nearest(features, chosen);
  return indices.map(at => names[at]);
}
