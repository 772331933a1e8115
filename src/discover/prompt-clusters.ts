/** The prompt step for all clusters: several at a time, in order, and whole even when the language model dies half-way. */
import type { TextModel, TextModelError } from '../llm/text-model.ts';
import {
  type Candidate,
  type ClusterPrompts,
  checkCounts,
  type PromptOptions,
  promptCluster,
  withoutPhrases,
} from './prompt.ts';

/** How far the prompt step is. */
export interface PromptProgress {
  readonly done: number;
  readonly total: number;
  readonly requests: number;
  /** Clusters among those done in which no candidate has phrases. */
  readonly withoutPhrases: number;
}

/** How to ask for the phrases of all clusters. */
export interface PromptClustersOptions extends PromptOptions {
  /** How many clusters are asked for at a time. */
  readonly concurrency?: number;
  readonly onProgress?: (progress: PromptProgress) => void;
}

/** The outcome of the prompt step. */
export interface PromptsResult {
  /** One a cluster, in the order given, whatever the concurrency. */
  readonly clusters: readonly ClusterPrompts[];
  readonly requests: number;
  /** Why asking ended early: the clusters that were not answered by then have no phrases. */
  readonly failure?: TextModelError;
}

/** After so many clusters in a row that failed for the server's sake, the rest is not sent to it. */
const patience = 3;

/**
 * `promptCluster` for each cluster's candidates, `concurrency` at a time.
 *
 * A text model that fails as a whole, or three times in a row after its own retries, is asked no more; the clusters
 * it answered keep their phrases. Throws the signal's reason, and what `promptCluster` throws.
 */
export async function promptClusters(
  clusters: readonly (readonly Candidate[])[],
  model: TextModel,
  { concurrency = 4, onProgress, signal, ...options }: PromptClustersOptions = {},
): Promise<PromptsResult> {
  checkCounts({ concurrency });
  const results = new Array<ClusterPrompts>(clusters.length);
  const ended = new AbortController();
  const either = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
  let failure: TextModelError | undefined;
  let failedInARow = 0;
  let next = 0;
  let done = 0;
  let requests = 0;
  let bare = 0;

  const askFor = async (candidates: readonly Candidate[]): Promise<ClusterPrompts> => {
    if (failure) return notAsked(candidates, failure);
    try {
      return await promptCluster(candidates, model, { ...options, signal: either });
    } catch (error) {
      if (failure && error === failure) return notAsked(candidates, failure);
      throw error;
    }
  };

  const work = async (): Promise<void> => {
    while (next < clusters.length) {
      signal?.throwIfAborted();
      const at = next++;
      const result = await askFor(clusters[at]);
      results[at] = result;
      if (result.requests > 0) failedInARow = result.failure?.retryable ? failedInARow + 1 : 0;
      if (result.failure && !failure && (result.failure.scope === 'model' || failedInARow >= patience)) {
        failure = result.failure;
        // Those under way would only wait for the same failure.
        ended.abort(failure);
      }
      requests += result.requests;
      if (result.candidates.every(({ phrases }) => phrases.length === 0)) bare++;
      onProgress?.({ done: ++done, total: clusters.length, requests, withoutPhrases: bare });
    }
  };

  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, clusters.length) }, work));
  } catch (error) {
    ended.abort(error);
    throw error;
  }
  return { clusters: results, requests, ...(failure ? { failure } : {}) };
}

function notAsked(candidates: readonly Candidate[], failure: TextModelError): ClusterPrompts {
  const problems = ['not asked, as the text model had failed before'];
  return { candidates: withoutPhrases(candidates, failure), requests: 0, problems, exchanges: [], failure };
}
