/** A text model behind an OpenAI-compatible chat API: OpenAI, Ollama, vLLM, llama.cpp, LM Studio and others. */
import OpenAI, { APIError } from 'openai';
import type { ChatCompletion } from 'openai/resources/chat/completions';
import { boundedFetch } from './bounded-fetch.ts';
import { type Budget, createBudget } from './budget.ts';
import { createDialect, type Sent } from './dialect.ts';
import { endpoint } from './endpoint.ts';
import { answerError, explain, type Place } from './openai-errors.ts';
import { proxiedFetch } from './proxied-fetch.ts';
import { createPace, limitReset } from './rate-limit.ts';
import { pause, type RetryOptions, retryAfter, waitBefore } from './retry.ts';
import { checkRequest, type TextAnswer, type TextModel, TextModelError } from './text-model.ts';

/** Where and how to ask. */
export interface OpenAiCompatibleOptions extends Partial<RetryOptions> {
  /** The model's name as its server knows it. */
  readonly model: string;
  /** Default: S3A_LLM_BASE_URL, else OPENAI_BASE_URL, else OpenAI's own. */
  readonly baseUrl?: string;
  /** Default: S3A_LLM_KEY; or OPENAI_API_KEY when the base URL is that of OPENAI_BASE_URL, or OpenAI's where that is not set. */
  readonly key?: string;
  /** The longest that one attempt may take, in milliseconds, until its last byte. */
  readonly timeoutMs?: number;
  /** The largest answer to read, in bytes. */
  readonly maxBytes?: number;
  /** The most tokens the model may write for one answer. */
  readonly maxTokens?: number;
  /** How many requests may be sent in all, attempts counted one by one; default any number. */
  readonly budget?: Budget;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * A text model that asks `baseUrl` for chat completions.
 *
 * Sends again after 429 (honouring Retry-After and x-ratelimit headers), 408, 409, 5xx and broken connections. Answers are asked
 * for as JSON of the request's schema; a parameter or format that the server refuses is left out from then on. Throws `LLM_CONFIG` for a base URL that is none or holds a secret.
 */
export function openAiCompatible(options: OpenAiCompatibleOptions): TextModel {
  const { model, timeoutMs = 120_000, maxBytes = 1 << 20, maxTokens = 4096 } = options;
  const { retries = 5, backoffMs = 1000, maxWaitMs = 60_000, budget = createBudget() } = options;
  const { baseUrl, key, keyVariable, own } = endpoint(options);
  const scrub = (text: string) => (key ? text.replaceAll(key, '…') : text);
  const place: Place = { model, baseUrl, timeoutMs, keyVariable, scrub };
  const environment = options.environment ?? process.env;
  const client = new OpenAI({
    baseURL: baseUrl,
    // The client refuses to start without a key; the header is what counts, and it is left out below.
    apiKey: key ?? 'none',
    adminAPIKey: null,
    organization: own ? (environment.OPENAI_ORG_ID ?? null) : null,
    project: own ? (environment.OPENAI_PROJECT_ID ?? null) : null,
    timeout: timeoutMs,
    // Attempts are counted against the budget, so they are repeated here and not inside the client.
    maxRetries: 0,
    logLevel: 'off',
    fetch: boundedFetch(maxBytes, proxiedFetch(environment)),
    defaultHeaders: { ...(key ? {} : { Authorization: null }), ...withoutTelemetry },
  });
  const disposed = new AbortController();
  const dialect = createDialect(model, maxTokens);
  const pace = createPace();
  let answered = false;

  async function attempt(written: Sent, signal: AbortSignal): Promise<TextAnswer> {
    budget.spend(model);
    const { data, response } = await client.chat.completions.create(written.body, { signal }).withResponse();
    const text = textOf(data, place);
    answered = true;
    dialect.accepted(written);
    // The next request would only be refused.
    pace.hold(Math.min(maxWaitMs, limitReset(response.headers, Date.now()) ?? 0));
    return { text };
  }

  return {
    id: `openai:${model}@${baseUrl}`,
    async complete(request, signal) {
      checkRequest(request);
      const either = signal ? AbortSignal.any([signal, disposed.signal]) : disposed.signal;
      for (let tries = 0; ; ) {
        either.throwIfAborted();
        await pace.ready(either);
        const written = dialect.write(request);
        try {
          return await attempt(written, either);
        } catch (thrown) {
          either.throwIfAborted();
          if (dialect.learn(thrown, written)) continue;
          const error = explain(thrown, place);
          // A server that was never there is not waited for; one that answered before may come back.
          const pointless = !error.retryable || error.scope === 'answer' || (error.scope === 'model' && !answered);
          const { headers, status } = thrown instanceof APIError ? thrown : {};
          const asked = retryAfter(headers, Date.now()) ?? limitReset(headers, Date.now());
          const wait = pointless
            ? undefined
            : waitBefore(tries, asked, request.seed, { retries, backoffMs, maxWaitMs });
          if (wait === undefined) throw error;
          tries++;
          // Whoever asks a server too often does so for all requests; other failures are this one's alone.
          if (status === 429) pace.hold(wait);
          else await pause(wait, either);
        }
      }
    },
    dispose: () =>
      disposed.abort(
        new TextModelError('LLM_DISPOSED', `The text model ${model} is closed.`, undefined, {
          scope: 'model',
          retryable: false,
        }),
      ),
  };
}

/** The client would send what machine it runs on. */
const withoutTelemetry = {
  'X-Stainless-Lang': null,
  'X-Stainless-Package-Version': null,
  'X-Stainless-OS': null,
  'X-Stainless-Arch': null,
  'X-Stainless-Runtime': null,
  'X-Stainless-Runtime-Version': null,
  'X-Stainless-Retry-Count': null,
  'X-Stainless-Timeout': null,
};

function textOf(completion: unknown, { baseUrl }: Place): string {
  const choices = (completion as Partial<ChatCompletion> | null | undefined)?.choices;
  const message: { content?: unknown } | undefined = Array.isArray(choices) ? choices[0]?.message : undefined;
  if (typeof message?.content === 'string') return message.content;
  // A model that spends all its tokens on thinking writes nothing.
  if (message?.content === null) return '';
  const what = typeof completion === 'string' ? 'a page of text' : 'something else';
  throw answerError('LLM_ANSWER', `${baseUrl} answered with ${what} instead of a chat completion.`);
}
