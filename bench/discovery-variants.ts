/** The methods of the ablation table: METHOD §2 as it is, and `auto` with its parts on and off. */

import { settingsOf } from '../src/config/resolve.ts';
import { type AutoParts, autoNames } from '../src/discover/auto.ts';
import { closeClusters } from '../src/discover/name-clusters.ts';
import { NameSearch } from '../src/discover/nearest.ts';
import { promptClusters } from '../src/discover/prompt-clusters.ts';
import { phraseFormats, realign, scoreCandidates } from '../src/discover/realign.ts';
import { renameGroups } from '../src/discover/rename.ts';
import { type NameScores, topNames, vote } from '../src/discover/vote.ts';
import { gloss } from '../src/llm/gloss.ts';
import type { Context } from './discovery-context.ts';

export interface Variant {
  readonly name: string;
  /** What the row is about, for the page. */
  readonly about: string;
  /** [N] names, −1 for unknown. */
  readonly label: (context: Context) => Promise<Int32Array>;
}

/** Parts of `auto`, with those that are not in `AutoParts`. */
export interface Parts extends AutoParts {
  /** Clusters as a factor of what was given or estimated. */
  overCluster: number;
  /** Prompts where the second candidate is within this share of the first; 0 is never. */
  promptMargin: number;
}

export const OFF: Parts = {
  voteTop: 1,
  hubs: 0,
  manyToOne: false,
  unknownBelow: 0,
  neighbours: 0,
  smoothing: 0,
  overCluster: 1,
  promptMargin: 0,
};

/** What `--method auto` is when nothing else is asked. */
export const AUTO: Parts = { ...OFF, voteTop: 5, manyToOne: true, neighbours: 10, smoothing: 7, overCluster: 1.15 };

/** METHOD §2.2–2.3, and with `prompts` §2.4–2.5. */
export async function reference(context: Context, prompts: boolean): Promise<Int32Array> {
  const { features, prototypes, bench } = context;
  const { width, threads } = bench;
  const search = new NameSearch(width, { threads });
  try {
    const clusters = await context.clusters(context.k);
    const { rounds, counted } = await vote(features, prototypes, clusters, { width, search });
    if (!prompts) return rounds.at(-1)!.labels;
    const candidates = await phrasesOf(context, counted.votes);
    const options = { width, search, ...formatsOf(context) };
    return (await realign(features, prototypes, counted, candidates, options)).labels;
  } finally {
    await search.dispose();
  }
}

/** `auto` with the given parts. */
export async function automatic(context: Context, parts: Parts): Promise<Int32Array> {
  const { features, prototypes, bench } = context;
  const { width, threads, clip } = bench;
  const clusters = await context.clusters(Math.ceil(context.k * parts.overCluster));
  const graph = parts.neighbours > 0 ? await context.graph(parts.neighbours) : undefined;
  const scale = clip.logitScale;
  const found = await autoNames(features, prototypes, clusters, { width, threads, scale, graph, ...parts });
  if (parts.promptMargin === 0) return found.labels;
  const asked = closeClusters(found.counted.votes, parts.promptMargin);
  const search = new NameSearch(width, { threads });
  try {
    const rows = found.counted.votes.map((row, k) =>
      asked[k] ? row : { names: row.names.slice(0, 0), scores: row.scores.slice(0, 0) },
    );
    const candidates = await phrasesOf(context, rows);
    const options = { width, search, ...formatsOf(context) };
    const scores = await scoreCandidates(features, prototypes, found.counted, candidates, options);
    return renameGroups(found.labels, found.counted.partition, found.counted.votes, scores, asked);
  } finally {
    await search.dispose();
  }
}

function formatsOf({ bench }: Context) {
  const { phraseFormats: formats = phraseFormats(['a photo of a {}.']) } = settingsOf('quick');
  return { formats, encodeTexts: bench.encodeTexts };
}

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
