/** `--method auto`: soft votes, many-to-one naming and smoothing on the neighbour graph, each an option of its own. */
import { choicesOf } from './choices.ts';
import { withoutHubs } from './hubs.ts';
import { namesOfMeanings } from './meanings.ts';
import { nameClusters, UNKNOWN } from './name-clusters.ts';
import { NameSearch, type Nearest } from './nearest.ts';
import { type NeighbourGraph, neighbourGraph } from './neighbours.ts';
import { type ComputeOptions, type Rows, rowCount, rowsOf } from './row-pass.ts';
import { smooth } from './smooth.ts';
import { softVotes } from './soft-votes.ts';
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
  /** [V + 1] where the prototypes of each name begin, with per-synset prototypes; default one each. */
  begins?: Int32Array;
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

const STEPS = 4;
// Meanings looked at for each name that is wanted; some names have several among an image's best.
const MEANINGS = 3;

/**
 * Names clusters and labels images (METHOD §7 in place of §2.2–2.3). Features are read a few times in blocks; about 600 bytes
 * an image are held beside them.
 * @param features [N, width] unit image features, or rows that need not be in memory
 * @param prototypes [V, width] unit text prototypes, or more with `begins`
 * @param clusters [N] cluster of every image
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function autoNames(
  features: Float32Array | Rows,
  prototypes: Float32Array,
  clusters: Int32Array,
  options: AutoOptions,
): Promise<AutoResult> {
  const { width, scale, begins, voteTop, hubs, manyToOne, unknownBelow, neighbours, smoothing, ...rest } = options;
  const { onProgress, ...compute } = rest;
  const rows = rowsOf(features, width, 'image features');
  const vocabulary = begins ? begins.length - 1 : rowCount(prototypes, width, 'prototypes');
  const given = { features: rows, prototypes, width };
  const scored = hubs > 0 ? await withoutHubs(rows, prototypes, hubs) : given;
  const nearest = await nearestOf(scored, voteTop, begins, compute);
  const zeroShot = firsts(hubs > 0 ? await nearestOf(given, 1, begins, compute) : nearest);
  onProgress?.(1, STEPS);
  const partition = partitionOf(clusters);
  const votes = softVotes(nearest, partition, scale);
  const names = manyToOne ? nameClusters(votes) : assignNames(votes, vocabulary, 'unnamed');
  const named = partition.clusters.map(k => names[k]);
  let labels: Int32Array = named;
  if (neighbours > 0 && smoothing > 0) {
    const graph =
      options.graph ??
      (await neighbourGraph(rows, { ...compute, width, count: neighbours, clusters: partition.clusters }));
    onProgress?.(2, STEPS);
    const choices = await choicesOf(scored.features, scored.prototypes, nearest, partition, votes, {
      width: scored.width,
      scale,
      begins,
    });
    onProgress?.(3, STEPS);
    labels = smooth(choices, graph, partition, smoothing);
  }
  labels = withUnknown(labels, nearest, scale, unknownBelow);
  onProgress?.(STEPS, STEPS);
  return { zeroShot, named, labels, counted: countGroups(labels, nearest, scale) };
}

/** The groups of one name with their soft votes; the group of the unknown, which is the first, has none. */
function countGroups(labels: Int32Array, nearest: Nearest, scale: number): AutoResult['counted'] {
  const partition = partitionOf(labels);
  const nameless = labels.includes(UNKNOWN);
  const votes = softVotes(nearest, partition, scale);
  return { partition, votes: votes.map((row, k) => (nameless && k === 0 ? nameScores([]) : row)) };
}

async function nearestOf(
  { features, prototypes, width }: { features: Rows; prototypes: Float32Array; width: number },
  top: number,
  begins: Int32Array | undefined,
  compute: ComputeOptions,
): Promise<Nearest> {
  const search = new NameSearch(width, compute);
  try {
    if (!begins) return await search.nearest(features, prototypes, { top });
    const rows = await search.nearest(features, prototypes, { top: MEANINGS * top });
    return namesOfMeanings(rows, begins, top);
  } finally {
    await search.dispose();
  }
}

function firsts({ top, indices }: Nearest): Int32Array {
  return Int32Array.from({ length: indices.length / top }, (_, i) => indices[i * top]);
}

/** The labels without those of groups in which the name has less than `least` of the votes. */
function withUnknown(labels: Int32Array, nearest: Nearest, scale: number, least: number): Int32Array {
  if (least === 0) return labels;
  const groups = partitionOf(labels);
  const votes = softVotes(nearest, groups, scale);
  const share = new Map<number, number>();
  labels.forEach((label, i) => {
    if (share.has(label)) return;
    const { names, scores } = votes[groups.clusters[i]];
    const at = names.indexOf(label);
    share.set(label, at < 0 ? 0 : scores[at]);
  });
  return labels.map(label => (share.get(label)! < least ? UNKNOWN : label));
}
