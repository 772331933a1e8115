/** What the OpenAI client throws, as the project's own errors: one clear line, a hint, and how far the failure reaches. */
import { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai';
import { messageOf, S3aError } from '../errors.ts';
import { ProxyError } from '../hub/proxy.ts';
import { TooLongError } from './bounded-fetch.ts';
import { oneLine } from './concepts.ts';
import { TextModelError } from './text-model.ts';

/** What an error message may name of the model that failed. */
export interface Place {
  readonly model: string;
  readonly baseUrl: string;
  readonly timeoutMs: number;
  /** The name of the environment variable that holds the key of this place. */
  readonly keyVariable: string;
  /** Removes the key from a text: servers like to repeat it. */
  readonly scrub: (text: string) => string;
}

const maxShown = 200;

/** The error to show for anything thrown by the client while it asked `place`. */
export function explain(thrown: unknown, place: Place): TextModelError {
  if (thrown instanceof TextModelError) return thrown;
  const { model, baseUrl, timeoutMs } = place;
  const causes = chain(thrown);
  const tooLong = causes.find(cause => cause instanceof TooLongError);
  if (tooLong) return answerError('LLM_TOO_LONG', `${baseUrl} sent ${tooLong.message} as one answer.`);
  const setting = causes.find(cause => cause instanceof S3aError);
  if (setting) {
    return new TextModelError('LLM_CONFIG', setting.message, setting.hint, { scope: 'model', retryable: false });
  }
  if (thrown instanceof APIConnectionTimeoutError) {
    return new TextModelError(
      'LLM_TIMEOUT',
      `${baseUrl} gave no answer within ${timeoutMs / 1000} s.`,
      'Is the model still loading? A longer time-out or a smaller model may help.',
      { scope: 'request', retryable: true },
    );
  }
  if (thrown instanceof APIConnectionError) {
    const why = place.scrub(oneLine(messageOf(causes.at(-1)), maxShown));
    const nobody = causes.some(
      cause =>
        cause instanceof ProxyError ||
        /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/.test(codeOf(cause)),
    );
    return new TextModelError(
      'LLM_UNREACHABLE',
      nobody ? `Nothing answers at ${baseUrl} (${why}).` : `The connection to ${baseUrl} broke (${why}).`,
      'Is the server running, and is the base URL right? Without a network, the `gloss` text model needs neither.',
      { scope: nobody ? 'model' : 'request', retryable: true },
    );
  }
  if (thrown instanceof APIError && typeof thrown.status === 'number') return explainStatus(thrown, place);
  const text = place.scrub(oneLine(messageOf(thrown), maxShown));
  return answerError('LLM_ANSWER', `${baseUrl} gave an answer of ${model} that cannot be read (${text}).`);
}

/** An answer of no use; the next one may be better. */
export function answerError(code: string, message: string): TextModelError {
  return new TextModelError(code, message, 'Is this the base URL of an OpenAI-compatible API (often ending in /v1)?', {
    scope: 'answer',
    retryable: true,
  });
}

function explainStatus(error: APIError, { model, baseUrl, keyVariable, scrub }: Place): TextModelError {
  const status = error.status as number;
  const said = scrub(oneLine(error.message, maxShown));
  const fail = (
    code: string,
    message: string,
    hint: string | undefined,
    scope: 'request' | 'model',
    retryable: boolean,
  ) => new TextModelError(code, message, hint, { scope, retryable });
  if (status >= 300 && status < 400) {
    // Following it could carry the request, and what is asked about, to a place that nobody named.
    const to = scrub(oneLine(error.headers?.get('location') ?? 'another place', maxShown));
    return fail('LLM_REDIRECT', `${baseUrl} sends on to ${to}.`, 'Name the right base URL.', 'model', false);
  }
  if (status === 401 || status === 403) {
    return fail(
      'LLM_AUTH',
      `${baseUrl} refused the key: ${said}.`,
      `Set ${keyVariable} to a key that is valid there.`,
      'model',
      false,
    );
  }
  if (status === 404) {
    const hint = `Check the model's name and the base URL; with Ollama, \`ollama pull ${model}\`.`;
    return fail('LLM_NO_MODEL', `${baseUrl} has no model ${model}: ${said}.`, hint, 'model', false);
  }
  if (status === 402 || error.code === 'insufficient_quota') {
    return fail(
      'LLM_QUOTA',
      `The account at ${baseUrl} has no credit left: ${said}.`,
      'Top it up and resume.',
      'model',
      false,
    );
  }
  if (status === 429) {
    const hint = 'Ask less at a time, or resume later: what was answered is kept.';
    return fail('LLM_RATE', `${baseUrl} says that it is asked too often: ${said}.`, hint, 'request', true);
  }
  if (status >= 500 || status === 408 || status === 409) {
    return fail(
      'LLM_SERVER',
      `${baseUrl} failed: ${said}.`,
      'Resume later: what was answered is kept.',
      'request',
      true,
    );
  }
  return fail('LLM_REFUSED', `${baseUrl} refused the request: ${said}.`, undefined, 'request', false);
}

/** The error and what caused it, outermost first; bounded, as causes may form a ring. */
function chain(error: unknown): Error[] {
  const causes: Error[] = [];
  for (let e = error; e instanceof Error && causes.length < 8; e = e.cause) causes.push(e);
  return causes;
}

function codeOf(error: Error): string {
  return String((error as NodeJS.ErrnoException).code ?? '');
}
