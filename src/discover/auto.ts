/** `--method auto`: soft votes, many-to-one naming and smoothing on the neighbour graph, each an option of its own. */
import { choicesOf } from './choices.ts';
import { nameClusters, UNKNOWN } from './name-clusters.ts';
import { NameSearch, type Nearest } from './nearest.ts';
import { type NeighbourGraph, neighbourGraph } from './neighbours.ts';
import { type ComputeOptions, rowCount } from './row-pass.ts';
import { smooth } from './smooth.ts';
import { softVotes, withoutHubs } from './soft-votes.ts';
import { assignNames, type NameScores, nameScores, type Partition, partitionOf } from './vote.ts';

/** The parts of the method; a part that is off does what METHOD §2 does. */
export interface AutoParts {
  /** Names that share an image's vote; 1 is the hard vote. */
  voteTop: number;
  /** How much names that are near every image are held back, 0 (off) to 1. */
  hubs: number;
  /** Whether several clusters may take one name. */
  manyToOne: boolean;
  /** Least share of a group's votes that its name must have; 0 (off) gives every group a name. */
  unknownBelow: number;
  /** Neighbours an image looks for; 0 (off) leaves the clusters as they are. */
  neighbours: number;
  /** Weight of the neighbours. */
  smoothing: number;
}

export interface AutoOptions extends ComputeOptions, AutoParts {
  /** Embedding width D. */
  width: number;
  /** Factor of cosines before a softmax: the model's logit scale. */
  scale: number;
  /** The neighbour graph, where it is known already. */
  graph?: NeighbourGraph;
  onProgress?: (done: number, total: number) => void;
}

export interface AutoResult {
  /** [N] the nearest name in the whole vocabulary. */
  readonly zeroShot: Int32Array;
  /** [N] the name of each image's cluster. */
  readonly named: Int32Array;
  /** [N] the name after smoothing, −1 for unknown. */
  readonly labels: Int32Array;
  /** The groups of one name, with their votes; the group of the unknown, if there is one, is the first and has none. */
  readonly counted: { readonly partition: Partition; readonly votes: readonly NameScores[] };
}

/**
 * Names clusters and labels images (METHOD §7 in place of §2.2–2.3).
 * @param features [N, width] unit image features
 * @param prototypes [V, width] unit text prototypes
 * @param clusters [N] cluster of every image
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function autoNames(
  features: Float32Array,
  prototypes: Float32Array,
  clusters: Int32Array,
  options: AutoOptions,
): Promise<AutoResult> {
  const { width, scale, voteTop, hubs, manyToOne, unknownBelow, neighbours, smoothing, onProgress } = options;
  const vocabulary = rowCount(prototypes, width, 'prototypes');
  const search = new NameSearch(width, options);
  try {
    const zeroShot = (await search.nearest(features, prototypes)).indices;
    const turned = withoutHubs(features, width, hubs);
    const nearest: Nearest = await search.nearest(turned, prototypes, { top: voteTop });
    onProgress?.(1, 3);
    const partition = partitionOf(clusters);
    const votes = softVotes(nearest, partition, scale);
    const names = manyToOne ? nameClusters(votes) : assignNames(votes, vocabulary, 'unnamed');
    const named = partition.clusters.map(k => names[k]);
    let labels: Int32Array = named;
    if (neighbours > 0 && smoothing > 0) {
      const graph =
        options.graph ??
        (await neighbourGraph(features, { ...options, count: neighbours, clusters: partition.clusters }));
      onProgress?.(2, 3);
      const choices = choicesOf(turned, prototypes, nearest, partition, votes, { width, scale });
      labels = smooth(choices, graph, { scale, strength: smoothing });
    }
    const groups = partitionOf(labels);
    const counted = softVotes(nearest, groups, scale);
    labels = withUnknown(labels, groups, counted, unknownBelow);
    return { zeroShot, named, labels, counted: countGroups(labels, nearest, scale) };
  } finally {
    await search.dispose();
  }
}

/** The groups of one name with their soft votes; the group of the unknown, which is the first, has none. */
export function countGroups(labels: Int32Array, nearest: Nearest, scale: number): AutoResult['counted'] {
  const partition = partitionOf(labels);
  const nameless = labels.includes(UNKNOWN);
  const votes = softVotes(nearest, partition, scale);
  return { partition, votes: votes.map((row, k) => (nameless && k === 0 ? nameScores([]) : row)) };
}

/** The labels without those of groups in which the name has less than `least` of the votes. */
function withUnknown(labels: Int32Array, groups: Partition, votes: readonly NameScores[], least: number): Int32Array {
  if (least === 0) return labels;
  const share = new Map<number, number>();
  labels.forEach((label, i) => {
    if (share.has(label)) return;
    const { names, scores } = votes[groups.clusters[i]];
    const at = names.indexOf(label);
    share.set(label, at < 0 ? 0 : scores[at]);
  });
  return labels.map(label => (share.get(label)! < least ? UNKNOWN : label));
}
