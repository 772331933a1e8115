/** The methods of the ablation table: METHOD §2 as it is, and `auto` with its parts on and off. */
import { TEMPLATES } from '../src/clip/prototypes.ts';
import { type AutoParts, autoNames } from '../src/discover/auto.ts';
import { overClustered } from '../src/discover/cluster.ts';
import { meaningPrototypes } from '../src/discover/meanings.ts';
import { closeClusters } from '../src/discover/name-clusters.ts';
import { NameSearch } from '../src/discover/nearest.ts';
import { promptClusters } from '../src/discover/prompt-clusters.ts';
import { phraseFormats, realign, scoreCandidates } from '../src/discover/realign.ts';
import { renameGroups } from '../src/discover/rename.ts';
import { type NameScores, nameScores, topNames, vote } from '../src/discover/vote.ts';
import { gloss } from '../src/llm/gloss.ts';
import type { Context } from './discovery-context.ts';

/** Parts of `auto`, with those that are not in `AutoParts`. */
export interface Parts extends AutoParts {
  /** Clusters as a factor of what was given or estimated. */
  overCluster: number;
  /** Prompts where the second candidate is within this share of the first; 0 is never. */
  promptMargin: number;
  /** Weight of glosses in prototypes of their own for every synset; 0 is one plain prototype a name. */
  glosses: number;
  /** Up to so many images are compared with all others for the neighbour graph. */
  mostCompared: number;
}

/** Every part off: one vote by METHOD §2.2, and every image keeps its cluster. */
export const OFF: Parts = {
  voteTop: 1,
  hubs: 0,
  manyToOne: false,
  unknownBelow: 0,
  neighbours: 0,
  smoothing: 0,
  overCluster: 1,
  promptMargin: 0,
  glosses: 0,
  mostCompared: 50_000,
};

/** What `--method auto` is when nothing else is asked. */
export const AUTO: Parts = {
  ...OFF,
  voteTop: 5,
  manyToOne: true,
  unknownBelow: 0.1,
  neighbours: 10,
  smoothing: 7,
  overCluster: 1.15,
};

export interface Variant {
  readonly name: string;
  /** Where it stands on the page. */
  readonly group: 'whole' | 'alone' | 'left out' | 'added';
  /** What it depends on, for the cache. */
  readonly key: unknown;
  /** Makes what is not counted in its time: clusters. */
  readonly prepare: (context: Context) => Promise<unknown>;
  /** [N] names, −1 for unknown. */
  readonly label: (context: Context) => Promise<Int32Array>;
}

const whole = (name: string, key: string, label: Variant['label']): Variant => ({
  name,
  group: 'whole',
  key,
  prepare: context => context.clusters(context.k),
  label,
});
const parts = (group: Variant['group'], name: string, base: Parts, change: Partial<Parts>): Variant => {
  const all = { ...base, ...change };
  return {
    name,
    group,
    key: all,
    prepare: context => context.clusters(overClustered(context.k, all.overCluster)),
    label: context => automatic(context, all),
  };
};
const alone = (name: string, change: Partial<Parts>): Variant => parts('alone', name, OFF, change);
const leftOut = (name: string, change: Partial<Parts>): Variant => parts('left out', name, AUTO, change);
const added = (name: string, change: Partial<Parts>): Variant => parts('added', name, AUTO, change);

/** The rows of the tables. */
export const VARIANTS: readonly Variant[] = [
  whole('zero-shot', 'zero-shot', async context => (await named(context, OFF)).zeroShot),
  whole('vote × 3', 'vote', context => reference(context, 0)),
  whole('s3a', 's3a', context => reference(context, 1)),
  parts('whole', 'auto', AUTO, {}),
  alone('one vote, images keep their cluster', {}),
  alone('over-cluster and merge', { overCluster: 1.15, manyToOne: true }),
  alone('soft votes of 5 names', { voteTop: 5 }),
  alone('hub correction', { hubs: 0.25 }),
  alone('many clusters to one name', { manyToOne: true }),
  alone('the same, unknown below 0.2 of the votes', { manyToOne: true, unknownBelow: 0.2 }),
  alone('prototypes of synsets with glosses', { glosses: 0.5 }),
  alone('smoothing on the neighbour graph', { neighbours: 10, smoothing: 7 }),
  { ...whole('s3a, prompts only where candidates are close', 's3a close', c => reference(c, 0.5)), group: 'alone' },
  leftOut('over-clustering', { overCluster: 1 }),
  leftOut('soft votes', { voteTop: 1 }),
  leftOut('many clusters to one name', { manyToOne: false }),
  leftOut('smoothing', { neighbours: 0, smoothing: 0 }),
  leftOut('unknown', { unknownBelow: 0 }),
  leftOut('neighbours in clusters far away', { mostCompared: 0 }),
  added('hub correction', { hubs: 0.25 }),
  added('unknown below 0.2 of the votes', { unknownBelow: 0.2 }),
  added('prototypes of synsets with glosses', { glosses: 0.5 }),
  added('prompts where candidates are close', { promptMargin: 0.5 }),
  added('over-cluster twice as much', { overCluster: 1.3 }),
  added('half as many neighbours', { neighbours: 5 }),
];

/** METHOD §2.2–2.3, and with a margin §2.4–2.5 for clusters whose candidates are that close; 1 is METHOD, 0 is none. */
export async function reference(context: Context, margin: number): Promise<Int32Array> {
  const { features, prototypes, bench } = context;
  const { width, threads } = bench;
  const search = new NameSearch(width, { threads });
  try {
    const clusters = await context.clusters(context.k);
    const { rounds, counted } = await vote(features, prototypes, clusters, { width, search });
    if (margin === 0) return rounds.at(-1)!.labels;
    const candidates = await phrasesOf(context, askAbout(counted.votes, margin));
    const options = { width, search, ...formatsOf(context) };
    return (await realign(features, prototypes, counted, candidates, options)).labels;
  } finally {
    await search.dispose();
  }
}

/** `auto` with the given parts. */
export async function automatic(context: Context, given: Parts): Promise<Int32Array> {
  const found = await named(context, given);
  if (given.promptMargin === 0) return found.labels;
  const { features, prototypes, bench } = context;
  const { width, threads } = bench;
  const { partition, votes } = found.counted;
  const asked = closeClusters(votes, given.promptMargin);
  const search = new NameSearch(width, { threads });
  try {
    const candidates = await phrasesOf(context, askAbout(votes, given.promptMargin));
    const options = { width, search, ...formatsOf(context) };
    const scores = await scoreCandidates(features, prototypes, found.counted, candidates, options);
    return renameGroups(found.labels, partition, votes, scores, asked);
  } finally {
    await search.dispose();
  }
}

async function named(context: Context, given: Parts) {
  const { bench, features } = context;
  const { width, threads, scale, encodeTexts } = bench;
  const clusters = await context.clusters(overClustered(context.k, given.overCluster));
  const graph = given.neighbours > 0 ? await context.graph(given.neighbours, given.mostCompared, clusters) : undefined;
  const meanings =
    given.glosses > 0
      ? await meaningPrototypes(
          context.entries.map(({ name, synsets }) => ({
            name,
            glosses: synsets.flatMap(synset => synset.gloss ?? []),
          })),
          context.prototypes,
          { width, encodeTexts, weight: given.glosses },
        )
      : { prototypes: context.prototypes, begins: undefined };
  const options = { ...given, width, threads, scale, graph, begins: meanings.begins };
  return autoNames(features, meanings.prototypes, clusters, options);
}

/** The votes of clusters that are close enough, and nothing of the others. */
function askAbout(votes: readonly NameScores[], margin: number): NameScores[] {
  const asked = closeClusters(votes, margin);
  return votes.map((row, k) => (asked[k] || margin === 1 ? row : nameScores([])));
}

const formatsOf = ({ bench }: Context) => ({ formats: phraseFormats(TEMPLATES), encodeTexts: bench.encodeTexts });

async function phrasesOf({ entries }: Context, votes: readonly NameScores[]) {
  const asked = votes.map(row =>
    topNames(row).map(index => ({
      index,
      name: entries[index].name,
      meanings: entries[index].synsets.map(({ id, gloss: text, synonyms }) => ({
        id: id ?? '',
        gloss: text,
        synonyms,
      })),
    })),
  );
  const { clusters } = await promptClusters(asked, gloss(), { repeats: 3, maxAsks: 3, temperature: 0.7, seed: 0 });
  return clusters.map(({ candidates }, k) =>
    candidates.map((candidate, i) => ({ ...candidate, index: asked[k][i].index })),
  );
}
