/** What the prompt step will send, before it sends anything: requests and tokens. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, type ConfigInput, parseConfig } from '../config/schema.ts';
import { type Candidate, toConcepts } from '../discover/candidates.ts';
import { overClustered } from '../discover/cluster.ts';
import { closeClusters } from '../discover/name-clusters.ts';
import { promptMessages } from '../discover/prompt-text.ts';
import { type NameScores, topNames } from '../discover/vote.ts';
import { S3aError } from '../errors.ts';
import { readJson } from '../io/json.ts';
import { answerSchema, asJson } from '../llm/structured.ts';
import { loadVocabulary, type VocabularyEntry } from '../vocab/vocabulary.ts';
import { readManifest } from './manifest.ts';
import { promptMargin } from './method.ts';
import { readVotes } from './vote.ts';

/** Requests and tokens of a prompt step. */
export interface PromptEstimate {
  /** Of the vote; before it, what `--k` says, or the most that `--k-max` allows. */
  readonly clusters: number;
  /** Whether the number of clusters is only an upper bound, and tokens are those of the vocabulary's average name. */
  readonly bound: boolean;
  /** When every answer is good at once, and when as many are asked for again as may be. */
  readonly requests: { readonly least: number; readonly most: number };
  /** Roughly, for the least number of requests, at four characters a token. */
  readonly tokens: { readonly input: number; readonly output: number };
  /** Who would be asked; `gloss` and `replay` answer without sending anything. */
  readonly llm: Config['llm'];
  /** The most requests that may be sent, where there is a limit. */
  readonly budget?: number;
}

/** A phrase is a few words, and a concept has three to six of them. */
const ANSWER_TOKENS = 35;
const CHARACTERS_A_TOKEN = 4;

/** The candidates of each cluster: its names with the largest share, with all their meanings; none where none is close. */
export function candidatesOf(
  votes: readonly NameScores[],
  entries: readonly VocabularyEntry[],
  config: Config,
): (Candidate & { index: number })[][] {
  const asked = config.method === 's3a' ? undefined : closeClusters(votes, promptMargin(config));
  return votes.map((row, k) =>
    asked?.[k] === false
      ? []
      : topNames(row, config.candidates).map(index => ({ index, ...candidateOf(entries[index]) })),
  );
}

/** The requests and tokens for these candidates of each cluster. */
export function estimatePrompts(
  asked: readonly (readonly Candidate[])[],
  { llm, llmRepeats, llmMaxAsks, llmMaxRequests }: Pick<Config, 'llm' | 'llmRepeats' | 'llmMaxAsks' | 'llmMaxRequests'>,
): PromptEstimate {
  const clusters = asked.filter(list => list.length > 0);
  const sizes = clusters.map(sizeOf);
  const sum = (of: 'input' | 'output'): number => sizes.reduce((total, size) => total + size[of], 0);
  return {
    clusters: clusters.length,
    bound: false,
    requests: requestsOf(clusters.length, llmRepeats, llmMaxAsks),
    tokens: { input: Math.ceil(sum('input') * llmRepeats), output: sum('output') * llmRepeats },
    llm,
    budget: llmMaxRequests,
  };
}

/**
 * The estimate for a run whose vote is done, with some settings of the prompt step changed; reads the run folder and writes
 * nothing.
 *
 * Throws S3aError RUN when there is no run or no vote, CONFIG for a setting that an earlier step depends on.
 */
export async function estimateRun(folder: string, overrides: ConfigInput = {}): Promise<PromptEstimate> {
  const path = join(folder, 'config.json');
  if (!existsSync(path) || !(await readManifest(folder)).stages.vote || !existsSync(join(folder, 'votes.parquet'))) {
    throw new S3aError(
      'RUN',
      `there is no vote in ${folder} to estimate the prompts of`,
      `Make one with s3a vote ${folder}.`,
    );
  }
  const earlier = Object.entries(overrides).find(
    ([key, value]) => value !== undefined && !key.startsWith('llm') && key !== 'candidates',
  );
  if (earlier) {
    throw new S3aError(
      'CONFIG',
      `${earlier[0]} may change the vote, and --dry-run computes none`,
      `Give it to s3a vote ${folder} first.`,
    );
  }
  const { images: _, ...stored } = (await readJson(path)) as Record<string, unknown>;
  const config = parseConfig({ ...stored, ...overrides }, path);
  const { entries } = await loadVocabulary(config.vocab);
  return estimatePrompts(candidatesOf((await readVotes(folder)).counted.votes, entries, asIfAsked(config)), config);
}

/** An upper bound before anything is computed, from the number of clusters and the average name of the vocabulary. */
export async function estimateBound(options: ConfigInput): Promise<PromptEstimate> {
  const config = parseConfig(options);
  const kinds = typeof config.k === 'number' ? config.k : config.kMax;
  const over = config.method === 'auto' || config.k === 'auto' ? config.overCluster : 1;
  const clusters = promptMargin(asIfAsked(config)) === 0 ? 0 : overClustered(kinds, over);
  const { entries } = await loadVocabulary(config.vocab);
  const empty = sizeOf([]);
  const all = entries.map(entry => sizeOf([candidateOf(entry)]));
  const mean = (of: 'input' | 'output'): number =>
    empty[of] + (config.candidates * all.reduce((sum, size) => sum + size[of] - empty[of], 0)) / all.length;
  const requests = requestsOf(clusters, config.llmRepeats, config.llmMaxAsks);
  return {
    clusters,
    bound: true,
    requests,
    tokens: { input: Math.ceil(mean('input') * requests.least), output: Math.ceil(mean('output') * requests.least) },
    llm: config.llm,
    budget: config.llmMaxRequests,
  };
}

/** The estimate is for a language model also where the phrases come from definitions, which cost nothing. */
function asIfAsked(config: Config): Config {
  return config.llm === 'gloss' ? { ...config, llm: 'openai' } : config;
}

/** The estimate in one line. */
export function describeEstimate({ clusters, bound, requests, tokens, llm, budget }: PromptEstimate): string {
  const number = (n: number): string => n.toLocaleString('en-US');
  const offline = llm === 'gloss' || llm === 'replay';
  const parts = [
    `${offline ? `${llm} sends nothing; a language model would get ` : ''}` +
      `${number(requests.least)} to ${number(requests.most)} requests for ${bound ? 'at most ' : ''}${number(clusters)} cluster${clusters === 1 ? '' : 's'}`,
    `about ${number(tokens.input)} tokens to read and ${number(tokens.output)} to write if all answers are good`,
  ];
  const short = budget !== undefined && budget < requests.least;
  return `${parts.join('; ')}${short ? `; the budget of ${number(budget)} requests is not enough for that` : ''}`;
}

function candidateOf({ name, synsets }: VocabularyEntry): Candidate {
  return { name, meanings: synsets.map(({ id, gloss, synonyms }) => ({ id: id ?? '', gloss, synonyms })) };
}

/** Tokens of one request and its answer, in its longest wording. */
function sizeOf(list: readonly Candidate[]): { input: number; output: number } {
  const concepts = toConcepts(list);
  const messages = asJson(promptMessages(concepts));
  const schema = JSON.stringify(answerSchema(concepts.map(({ label }) => label)));
  const characters = messages.reduce((sum, { content }) => sum + content.length, schema.length);
  return { input: characters / CHARACTERS_A_TOKEN, output: concepts.length * ANSWER_TOKENS };
}

/** Every repeat, and the round for candidates left without phrases, may be asked for so many times. */
function requestsOf(clusters: number, repeats: number, maxAsks: number): { least: number; most: number } {
  return { least: clusters * repeats, most: clusters * (repeats + 1) * maxAsks };
}
