/** The prompt stage (METHOD §2.4): phrases that tell the candidates of each cluster apart. */
import { rm } from 'node:fs/promises';
import type { Config } from '../config/schema.ts';
import type { CandidatePhrases } from '../discover/prompt.ts';
import { type PromptsResult, promptClusters } from '../discover/prompt-clusters.ts';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { hashFile } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { writeJsonl } from '../io/jsonl.ts';
import { type Budget, createBudget } from '../llm/budget.ts';
import { cached } from '../llm/cache.ts';
import { gguf } from '../llm/gguf.ts';
import { checkGguf } from '../llm/gguf-file.ts';
import { gloss } from '../llm/gloss.ts';
import { ownTextModel } from '../llm/own.ts';
import { replay } from '../llm/replay.ts';
import type { TextModel, TextModelError } from '../llm/text-model.ts';
import type { Vocabulary } from '../vocab/vocabulary.ts';
import { promptMargin } from './method.ts';
import { candidatesOf, describeEstimate, estimatePrompts } from './prompt-estimate.ts';
import type { Run } from './store.ts';
import type { Voted } from './vote.ts';

/** Candidates of one cluster with their phrases. */
export interface PromptedCluster {
  candidates: (CandidatePhrases & { index: number })[];
}

/** `phrases.json` and `prompts.jsonl`, every request with its answer. */
export async function prompt(run: Run, { entries }: Vocabulary, { counted }: Voted): Promise<PromptedCluster[]> {
  const config = settingsOf(run);
  const { llmRepeats, llmMaxAsks, llmTemperature, llmMaxRequests, candidates, seed } = config;
  const margin = promptMargin(config);
  const speaksOfOthers = config.method === 's3a';
  const inputs = {
    vote: run.keyOf('vote'),
    model: await modelInputs(config),
    ...{ llmRepeats, llmMaxAsks, candidates, seed, margin, speaksOfOthers },
  };
  // A language model that failed may be back, or its budget may be larger: what it left open is asked for again.
  if (run.manifest.stages.prompt?.info.failure !== undefined) delete run.manifest.stages.prompt;
  await run.stage('prompt', inputs, ['phrases.json', 'prompts.jsonl'], async () => {
    const asked = candidatesOf(counted.votes, entries, config);
    const budget = createBudget(llmMaxRequests);
    // Answers are kept as they come, so that a killed run repeats no request.
    const memory = await cached(await openTextModel(run, budget), run.path('prompts-cache.jsonl'));
    budget.sentBefore(memory.kept);
    try {
      announce(run, asked, memory.kept);
      const result = await promptClusters(asked, memory, {
        repeats: llmRepeats,
        maxAsks: llmMaxAsks,
        temperature: llmTemperature,
        speaksOfOthers,
        seed,
        concurrency: config.llmConcurrency,
        signal: run.hooks.signal,
        onProgress: ({ done, total, requests }) => run.progress('prompt', done, total, { requests }),
      });
      const prompted = result.clusters.map((cluster, k) => ({
        candidates: cluster.candidates.map((candidate, i) => ({ ...candidate, index: asked[k][i].index })),
      }));
      await writeJsonl(
        run.path('prompts.jsonl'),
        result.clusters.flatMap(cluster => cluster.exchanges),
      );
      await writeAtomic(run.path('phrases.json'), `${JSON.stringify(prompted, null, 1)}\n`);
      await memory.dispose();
      // Its answers so far are still good when the model is asked for the rest.
      if (!failureOf(result)) await rm(run.path('prompts-cache.jsonl'), { force: true });
      return report(run, result);
    } finally {
      await memory.dispose();
    }
  });
  return (await readJson(run.path('phrases.json'))) as PromptedCluster[];
}

/**
 * Ends a run whose language model cannot even be opened (no such file, no such recording, no address) before the images are
 * embedded, not after.
 */
export async function checkTextModel(run: Run): Promise<void> {
  if (run.manifest.stages.prompt) return;
  await (await openTextModel(run, createBudget())).dispose?.();
}

/** Says what will be sent, where sending costs time or money. */
function announce(run: Run, asked: ReturnType<typeof candidatesOf>, kept: number): void {
  const { llm } = settingsOf(run);
  if (llm !== 'openai' && llm !== 'gguf') return;
  const known = kept > 0 ? `; ${kept} answers are kept from before` : '';
  run.note(`${describeEstimate(estimatePrompts(asked, settingsOf(run)))}${known}`);
}

/** What the manifest keeps: which clusters have phrases to be realigned by, and why others have none. */
function report(run: Run, result: PromptsResult): Record<string, unknown> {
  const { clusters, requests } = result;
  const failure = failureOf(result);
  // A cluster without candidates was not to be asked about.
  const asked = clusters.filter(({ candidates }) => candidates.length > 0).length;
  const realigned = [...clusters.keys()].filter(k => clusters[k].candidates.some(({ phrases }) => phrases.length > 0));
  const info = {
    clusters: asked,
    requests,
    withoutPhrases: asked - realigned.length,
    realigned: ranges(realigned),
  };
  if (!failure) {
    const { llm } = settingsOf(run);
    const reason = clusters.flatMap(({ candidates }) => candidates).find(({ fallback }) => fallback)?.fallback;
    if (info.withoutPhrases > 0 && (llm === 'openai' || llm === 'gguf')) {
      run.warn(`${info.withoutPhrases} of ${asked} clusters keep the vote's names, as they got no phrases (${reason})`);
    }
    return info;
  }
  const why = `${failure.message}${failure.hint ? ` ${failure.hint}` : ''}`;
  const which = realigned.length > 0 ? ` (clusters ${info.realigned})` : '';
  run.warn(
    `the language model failed: ${realigned.length} of ${asked} clusters are realigned by its phrases${which}, ` +
      `the others keep the vote's names. ${why}`,
  );
  return { ...info, failure: why };
}

/** Why asking ended early, or why some cluster went without an answer that may come the next time. */
function failureOf({ failure, clusters }: PromptsResult): TextModelError | undefined {
  return failure ?? clusters.find(cluster => cluster.failure?.retryable)?.failure;
}

/** `0-3, 7` for 0, 1, 2, 3 and 7, in ascending order. */
export function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const n of numbers) {
    const last = parts.at(-1);
    if (last && n === last[1] + 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}

/** What of the settings decides the answers. */
async function modelInputs(config: Config): Promise<Record<string, unknown>> {
  const { llm, llmModel, llmBaseUrl, llmReplay, llmTemperature } = config;
  if (llm === 'openai') return { llm, llmModel, llmBaseUrl, llmTemperature };
  if (llm === 'gguf' && llmModel) return { llm, model: (await checkGguf(llmModel)).id, llmTemperature };
  return { llm, ...(llm === 'replay' && llmReplay ? { replay: await hashFile(llmReplay) } : {}) };
}

/** With a text model of the caller's own the step is as with a server's. */
function settingsOf({ config, hooks: { textModel } }: Run): Config {
  return textModel ? { ...config, llm: 'openai', llmModel: textModel.id, llmBaseUrl: undefined } : config;
}

async function openTextModel({ config, hooks }: Run, budget: Budget): Promise<TextModel> {
  if (hooks.textModel) return ownTextModel(hooks.textModel, budget);
  const { llm, llmModel, llmBaseUrl, llmReplay, llmTimeout, threads } = config;
  if (llm === 'gloss') return gloss();
  if (llm === 'replay') {
    if (!llmReplay)
      throw new S3aError('CONFIG', 'no recording was given to replay', 'Name a prompts.jsonl with --llm-replay.');
    return replay(llmReplay);
  }
  if (!llmModel) throw new S3aError('CONFIG', 'no language model was named', 'Name one with --llm-model.');
  if (llm === 'gguf') return gguf({ path: llmModel, threads, timeoutMs: llmTimeout, budget });
  // Most runs ask nobody, and every start would load the client.
  const { openAiCompatible } = await import('../llm/openai-compatible.ts');
  return openAiCompatible({ model: llmModel, baseUrl: llmBaseUrl, timeoutMs: llmTimeout, budget });
}
