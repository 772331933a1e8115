/** The prompt step (METHOD §2.4): for the candidates of a cluster, weighted phrases that tell them apart in a photo. */
import { messageOf, S3aError } from '../errors.ts';
import { answerSchema } from '../llm/structured.ts';
import { type Exchange, plain, type TextModel, TextModelError, type TextRequest } from '../llm/text-model.ts';
import { random } from '../random.ts';
import { type ParsedAnswer, parseAnswer } from './answer.ts';
import { type Candidate, type CandidateConcept, countPhrases, toConcepts, type WeightedPhrase } from './candidates.ts';
import { promptMessages } from './prompt-text.ts';

export type { Candidate, Meaning, WeightedPhrase } from './candidates.ts';

/** How to ask for the phrases of one cluster. */
export interface PromptOptions {
  /** How many answers are counted; METHOD: 3. */
  readonly repeats?: number;
  /** How often one answer is asked for before it is given up. */
  readonly maxAsks?: number;
  readonly temperature?: number;
  readonly seed?: number;
  /** Keeps phrases that speak of another candidate by its name, as METHOD does; default they are dropped. */
  readonly speaksOfOthers?: boolean;
  readonly signal?: AbortSignal;
}

/** What a candidate has to be realigned with. */
export interface CandidatePhrases {
  readonly name: string;
  readonly phrases: readonly WeightedPhrase[];
  /** Why there are no phrases; the caller then has the plain name only. */
  readonly fallback?: string;
}

/** The outcome of the prompt step for one cluster. */
export interface ClusterPrompts {
  /** In the order of the candidates given. */
  readonly candidates: readonly CandidatePhrases[];
  /** How many requests the text model was given, those that it answered from a cache included. */
  readonly requests: number;
  /** What went wrong on the way, one line each, in order. */
  readonly problems: readonly string[];
  /** Every request that was answered, with its answer: the lines of `prompts.jsonl`. */
  readonly exchanges: readonly Exchange[];
  /** Set when the text model failed; then no candidate has phrases. */
  readonly failure?: TextModelError;
}

interface Asking {
  readonly model: TextModel;
  readonly options: Required<Omit<PromptOptions, 'signal'>> & { readonly signal?: AbortSignal };
  readonly concepts: readonly CandidateConcept[];
  readonly problems: string[];
  readonly exchanges: Exchange[];
  requests: number;
}

/**
 * Asks `model` for phrases that discriminate the candidates, `repeats` times, and counts them (METHOD §2.4).
 *
 * An answer that misses a concept or adds one is asked again, at most `maxAsks` times in all; then one that only adds is
 * taken without what it adds, and one that misses is lost. A candidate left without phrases is asked for again, at most
 * `maxAsks` times, and then has none, with the reason. A failing model is reported, not thrown; what is thrown is the
 * signal's reason, and whatever else the model throws (a cache on a full disk).
 */
export async function promptCluster(
  candidates: readonly Candidate[],
  model: TextModel,
  { repeats = 3, maxAsks = 3, temperature = 0.7, seed = 0, speaksOfOthers = false, signal }: PromptOptions = {},
): Promise<ClusterPrompts> {
  checkCounts({ repeats, maxAsks });
  const concepts = toConcepts(candidates);
  const options = { repeats, maxAsks, temperature, seed, speaksOfOthers, signal };
  const asking: Asking = { model, options, concepts, problems: [], exchanges: [], requests: 0 };
  if (candidates.length === 0) return outcome(asking, []);
  const count = countPhrases(candidates, concepts, speaksOfOthers);
  try {
    let counted = 0;
    for (let repeat = 0; repeat < repeats; repeat++) {
      const answer = await askWhole(asking, repeat);
      if (!answer) continue;
      count.add(answer.phrases);
      counted++;
    }
    for (let round = 0; round < maxAsks && counted > 0; round++) {
      const settled = count.settled();
      const bare = candidates.filter((_, i) => settled[i].length === 0).map(({ name }) => name);
      if (bare.length === 0) break;
      const answer = await ask(asking, repeats + round, 0, reminderFor('bare', toLabels(concepts, bare)));
      if (answer?.missing.length === 0) count.add(answer.phrases, i => settled[i].length === 0);
    }
    const settled = count.settled();
    const none = counted > 0 ? 'every phrase given was a name or fitted another candidate too' : 'no answer was usable';
    return outcome(
      asking,
      candidates.map(({ name }, i) =>
        settled[i].length > 0 ? { name, phrases: settled[i] } : { name, phrases: [], fallback: none },
      ),
    );
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof TextModelError)) throw error;
    asking.problems.push(messageOf(error));
    return { ...outcome(asking, withoutPhrases(candidates, error)), failure: error };
  }
}

/** The candidates as they are when the text model could not be asked. */
export function withoutPhrases(candidates: readonly Candidate[], failure: TextModelError): CandidatePhrases[] {
  return candidates.map(({ name }) => ({ name, phrases: [], fallback: messageOf(failure) }));
}

/** An answer that speaks of every concept and of nothing else, or the best that `maxAsks` requests gave. */
async function askWhole(asking: Asking, repeat: number): Promise<ParsedAnswer | undefined> {
  let salvaged: ParsedAnswer | undefined;
  let reminder: string | undefined;
  for (let again = 0; again < asking.options.maxAsks; again++) {
    const answer = await ask(asking, repeat, again, reminder);
    if (!answer) continue;
    if (answer.missing.length === 0 && answer.added.length === 0) return answer;
    if (answer.missing.length === 0) salvaged = answer;
    reminder = answer.missing.length > 0 ? reminderFor('missing', answer.missing) : reminderFor('added', []);
  }
  const { problems, options } = asking;
  problems.push(
    salvaged
      ? `repeat ${repeat + 1}: what ${options.maxAsks} answers added was left out`
      : `repeat ${repeat + 1}: lost, as none of ${options.maxAsks} answers was whole`,
  );
  return salvaged;
}

/** One request; undefined when its answer is of no use at all. */
async function ask(
  asking: Asking,
  repeat: number,
  again: number,
  reminder?: string,
): Promise<ParsedAnswer | undefined> {
  const { model, options, concepts, problems, exchanges } = asking;
  const labels = concepts.map(({ label }) => label);
  const request: TextRequest = {
    messages: promptMessages(concepts, reminder),
    temperature: options.temperature,
    // From the concepts, not from the cluster's number: the request stays the same when clusters are re-indexed.
    seed: random(options.seed, 'prompt', ...labels, repeat, again).int(0x7fffffff),
    repeat,
    schema: answerSchema(labels),
  };
  const where = `repeat ${repeat + 1}, request ${again + 1}`;
  options.signal?.throwIfAborted();
  asking.requests++;
  try {
    const { text } = await model.complete(request, options.signal);
    exchanges.push({ model: model.id, request: plain(request), answer: { text } });
    const answer = parseAnswer(text, labels);
    if (answer.missing.length > 0) problems.push(`${where}: the answer misses ${shortList(answer.missing)}`);
    if (answer.added.length > 0) problems.push(`${where}: the answer adds ${shortList(answer.added)}`);
    return answer;
  } catch (error) {
    if (!(error instanceof TextModelError) || error.scope !== 'answer') throw error;
    problems.push(`${where}: ${messageOf(error)}`);
    return undefined;
  }
}

function reminderFor(what: 'missing' | 'added' | 'bare', labels: readonly string[]): string {
  if (what === 'missing') return `Leave out no concept; an answer without ${shortList(labels)} is of no use.`;
  if (what === 'added') return 'Write the lines of the concepts above and no other line.';
  return `Give phrases for ${shortList(labels)} that fit none of the other concepts.`;
}

function toLabels(concepts: readonly CandidateConcept[], names: readonly string[]): string[] {
  return concepts.filter(({ name }) => names.includes(name)).map(({ label }) => label);
}

function shortList(items: readonly string[]): string {
  const more = items.length > 4 ? ` and ${items.length - 4} more` : '';
  return items.slice(0, 4).join(', ') + more;
}

function outcome({ requests, problems, exchanges }: Asking, candidates: CandidatePhrases[]): ClusterPrompts {
  return { candidates, requests, problems, exchanges };
}

/** Throws S3aError PROMPT_OPTION for a setting that is no whole number from 1 on. */
export function checkCounts(counts: Record<string, number>): void {
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new S3aError('PROMPT_OPTION', `The prompt step's ${name} is ${value}.`, 'Give a whole number of at least 1.');
  }
}
