/** The realign step (METHOD §2.5): phrases that tell candidates apart decide which name a cluster gets. */
import { S3aError } from '../errors.ts';
import { NameSearch } from './nearest.ts';
import { type ComputeOptions, gatherRows, type Rows, rowCount, rowsOf } from './row-pass.ts';
import { electNames, type NameScores, nameScores, type Partition, reassign } from './vote.ts';

/** One of the names that a cluster may get. */
export interface RealignCandidate {
  /** Vocabulary index. */
  readonly index: number;
  readonly name: string;
  /** With their weights u_p, positive; a candidate without any competes with its plain prototype, of weight 1. */
  readonly phrases: readonly { readonly phrase: string; readonly weight: number }[];
}

/** Unit or plain text features, [texts.length, D] flat. */
export type EncodeTexts = (texts: string[]) => Promise<Float32Array>;

export interface RealignOptions extends ComputeOptions {
  /** Embedding width D. */
  width: number;
  /** Texts of a phrase prototype, with `{name}` and `{phrase}` in them; see `phraseFormats`. */
  formats: readonly string[];
  encodeTexts: EncodeTexts;
  /** Phrases an image votes for; default 3. */
  top?: number;
  /** A search to share with other steps; otherwise one is made and disposed. */
  search?: NameSearch;
}

export interface RealignResult {
  /** The elected names by rising vocabulary index. */
  readonly names: Int32Array;
  /** [N] the structural label s_i of every image, as vocabulary index. */
  readonly labels: Int32Array;
  /** The scores that decided, one row a cluster. */
  readonly scores: readonly NameScores[];
}

// Phrases whose texts are encoded in one call: enough to fill the encoder's batches, few enough to bound memory.
const PHRASES_A_CALL = 64;

/**
 * Scores the candidates of every cluster by the phrases its images vote for, assigns names one to one by these scores, and
 * moves every image to the nearest chosen name by the plain prototypes (METHOD §2.5).
 *
 * A cluster of which no candidate has a phrase (its prompt failed) keeps its row of vote shares M as scores.
 * @param features [N, width] unit image features, or rows that need not be in memory
 * @param prototypes [V, width] unit plain prototypes
 * @param counted the partition and the votes that the last vote counted
 * @param candidates of every cluster of the partition
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function realign(
  features: Float32Array | Rows,
  prototypes: Float32Array,
  counted: { readonly partition: Partition; readonly votes: readonly NameScores[] },
  candidates: readonly (readonly RealignCandidate[])[],
  options: RealignOptions,
): Promise<RealignResult> {
  const search = options.search ?? new NameSearch(options.width, options);
  try {
    const scores = await scoreCandidates(features, prototypes, counted, candidates, { ...options, search });
    const names = electNames(scores, rowCount(prototypes, options.width, 'prototypes'));
    return { names, labels: await reassign(search, features, prototypes, names), scores };
  } finally {
    if (!options.search) await search.dispose();
  }
}

/**
 * The scores by which `realign` assigns names, a row a cluster: those of its candidates by the phrases that its images vote
 * for, or its row of votes where no candidate has a phrase.
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function scoreCandidates(
  features: Float32Array | Rows,
  prototypes: Float32Array,
  { partition, votes }: { readonly partition: Partition; readonly votes: readonly NameScores[] },
  candidates: readonly (readonly RealignCandidate[])[],
  options: RealignOptions & { search: NameSearch },
): Promise<NameScores[]> {
  const { width, top = 3, search } = options;
  const images = rowsOf(features, width, 'image features');
  if (partition.clusters.length !== images.count || candidates.length !== partition.count) {
    const what = `${candidates.length} lists of candidates for ${partition.count} clusters of ${partition.clusters.length}`;
    throw new S3aError('SHAPE', `realign: ${what} of ${images.count} images`);
  }
  const phraseOf = await phrasePrototypes(candidates.flat(), options);
  const members = membersOf(partition);
  const scores: NameScores[] = [];
  for (const [k, list] of candidates.entries()) {
    if (list.every(candidate => candidate.phrases.length === 0)) {
      scores.push(votes[k]);
      continue;
    }
    const listed = list.flatMap(({ index, name, phrases }) =>
      phrases.length > 0
        ? phrases.map(({ phrase, weight }) => ({ index, weight, prototype: phraseOf(name, phrase) }))
        : [{ index, weight: 1, prototype: prototypes.subarray(index * width, (index + 1) * width) }],
    );
    const table = new Float32Array(listed.length * width);
    listed.forEach(({ prototype }, p) => {
      table.set(prototype, p * width);
    });
    const found = await search.nearest(await gatherRows(images, members[k]), table, { top });
    const count = new Int32Array(listed.length);
    for (const phrase of found.indices) count[phrase]++;
    scores.push(phraseScores(listed.map(({ index, weight }, p) => ({ name: index, weight, votes: count[p] }))));
  }
  return scores;
}

/**
 * The scores of one cluster's candidates: Σ_{p of w} (u_p / R_w) · v_p / (1 + R − R_w), with R_w the weight of w's phrases
 * and R that of all (METHOD §2.5, as it stands in the released code).
 * @param phrases name w, weight u_p and votes v_p of every phrase
 */
export function phraseScores(phrases: readonly { name: number; weight: number; votes: number }[]): NameScores {
  const own = new Map<number, number>();
  let total = 0;
  for (const { name, weight } of phrases) {
    own.set(name, (own.get(name) ?? 0) + weight);
    total += weight;
  }
  const score = new Map<number, number>();
  for (const { name, weight, votes } of phrases) {
    const part = ((weight / own.get(name)!) * votes) / (1 + total - own.get(name)!);
    score.set(name, (score.get(name) ?? 0) + part);
  }
  return nameScores([...score].filter(([, value]) => value > 0));
}

/**
 * The formats of phrase prototypes from templates such as "a photo of a {}.": each in both orders, "name phrase" and
 * "phrase name". Other formats, such as "a {name}, which has {phrase}", may be used beside or instead.
 */
export function phraseFormats(templates: readonly string[]): string[] {
  return templates.flatMap(template =>
    ['{name} {phrase}', '{phrase} {name}'].map(order => template.replaceAll('{}', () => order)),
  );
}

/** A format with name and phrase in place. */
export function fillFormat(format: string, name: string, phrase: string): string {
  return format.replace(/\{(name|phrase)\}/g, (_, key) => (key === 'name' ? name : phrase));
}

/** Encodes every (name, phrase) once: mean of the unit features of all formats, normalised. */
async function phrasePrototypes(
  candidates: readonly RealignCandidate[],
  { width, formats, encodeTexts }: RealignOptions,
): Promise<(name: string, phrase: string) => Float32Array> {
  if (formats.length === 0) throw new S3aError('VALUE', 'realign: there is no format for phrases');
  const pairs = new Map<string, { name: string; phrase: string }>();
  for (const { name, phrases } of candidates) {
    for (const { phrase } of phrases) pairs.set(`${name}\n${phrase}`, { name, phrase });
  }
  const known = new Map<string, Float32Array>();
  const queue = [...pairs];
  for (let start = 0; start < queue.length; start += PHRASES_A_CALL) {
    const part = queue.slice(start, start + PHRASES_A_CALL);
    const texts = part.flatMap(([, { name, phrase }]) => formats.map(format => fillFormat(format, name, phrase)));
    const encoded = await encodeTexts(texts);
    if (encoded.length !== texts.length * width) {
      throw new S3aError('SHAPE', `realign: ${texts.length} texts gave ${encoded.length} values, not rows of ${width}`);
    }
    part.forEach(([key], p) => {
      const rows = formats.map((_, f) => encoded.subarray((p * formats.length + f) * width).subarray(0, width));
      known.set(key, unitMean(rows));
    });
  }
  return (name, phrase) => known.get(`${name}\n${phrase}`)!;
}

/** normalise(mean(normalise(row))). */
function unitMean(rows: readonly Float32Array[]): Float32Array {
  const mean = new Float64Array(rows[0].length);
  for (const row of rows) {
    const norm = Math.hypot(...row);
    row.forEach((value, d) => {
      mean[d] += value / norm;
    });
  }
  const norm = Math.hypot(...mean);
  return Float32Array.from(mean, value => value / norm);
}

function membersOf({ clusters, count }: Partition): number[][] {
  const members: number[][] = Array.from({ length: count }, () => []);
  clusters.forEach((cluster, image) => {
    members[cluster].push(image);
  });
  return members;
}
