/** Requests to MLflow's REST API, each with a time limit and sent again after failures that may pass. */
import { messageOf, S3aError } from '../errors.ts';
import { boundedFetch } from '../llm/bounded-fetch.ts';
import { proxiedFetch } from '../llm/proxied-fetch.ts';
import { pause, type RetryOptions, retryAfter, waitBefore } from '../llm/retry.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where the server is and who asks. */
export interface MlflowPlace {
  /** Without a slash at its end. */
  readonly uri: string;
  readonly experiment: string;
  /** The header that says who asks; never shown. */
  readonly authorization: string | undefined;
}

export interface MlflowApi {
  /** The answer to a POST with a JSON body; throws MlflowError. */
  post(path: string, body: unknown): Promise<unknown>;
  /** The answer to a GET; throws MlflowError. */
  get(path: string, query: Readonly<Record<string, string>>): Promise<unknown>;
}

/** A request that failed for good. */
export class MlflowError extends Error {
  /** MLflow's own reason, such as RESOURCE_DOES_NOT_EXIST; empty when it gives none. */
  readonly reason: string;

  constructor(message: string, reason = '') {
    super(message);
    this.name = 'MlflowError';
    this.reason = reason;
  }
}

export interface ApiOptions extends Partial<RetryOptions> {
  /** The longest wait for one answer, in milliseconds; default 10 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly environment?: Environment;
}

// A run's record holds its latest figures and its settings: some 100 kB.
const MAX_ANSWER = 8 << 20;

/**
 * The server that is named, or that MLFLOW_TRACKING_URI names, with what MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
 * MLFLOW_TRACKING_PASSWORD say. What was set for the server of the environment is sent to no other.
 *
 * Throws S3aError TRACK when there is none, or its address is not one of a server or holds a secret.
 */
export function mlflowPlace(uri: string | undefined, environment: Environment = process.env): MlflowPlace {
  const get = (name: string): string | undefined => environment[`MLFLOW_${name}`]?.trim() || undefined;
  const usual = get('TRACKING_URI');
  const given = uri ?? usual;
  const hint = 'Give --mlflow-uri such as http://127.0.0.1:5000, where mlflow server runs, or set MLFLOW_TRACKING_URI.';
  if (given === undefined) throw new S3aError('TRACK', '--track mlflow needs the address of a server', hint);
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new S3aError('TRACK', 'the address of MLflow is not an http(s) address', hint);
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new S3aError(
      'TRACK',
      `the address of MLflow at ${url.host} holds a user, a query or a fragment, which would end in logs`,
      'Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, instead.',
    );
  }
  const plain = (text: string): string => text.replace(/\/+$/, '');
  const own = usual === undefined || plain(usual) === plain(given);
  const [user, password, token] = [get('TRACKING_USERNAME'), get('TRACKING_PASSWORD'), get('TRACKING_TOKEN')];
  const basic = user && `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}`;
  const authorization = own ? (basic ?? (token && `Bearer ${token}`)) : undefined;
  if (authorization && !/^[\x20-\x7e]+$/.test(authorization)) {
    throw new S3aError('TRACK', 'MLFLOW_TRACKING_TOKEN holds characters that no token has', 'Set it again.');
  }
  return { uri: plain(given), experiment: get('EXPERIMENT_NAME') ?? 's3a', authorization };
}

/** The API of one server. */
export function createMlflowApi(place: MlflowPlace, options: ApiOptions = {}): MlflowApi {
  const { timeoutMs = 10_000, signal, environment = process.env } = options;
  const { retries = 4, backoffMs = 500, maxWaitMs = 30_000 } = options;
  const send = boundedFetch(MAX_ANSWER, proxiedFetch(environment));
  const { host } = new URL(place.uri);

  async function ask(path: string, init: RequestInit): Promise<unknown> {
    const headers = { ...init.headers, ...(place.authorization ? { authorization: place.authorization } : {}) };
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      const limit = AbortSignal.timeout(timeoutMs);
      let asked: number | undefined;
      let failure: MlflowError;
      try {
        const url = `${place.uri}/api/2.0/mlflow/${path}`;
        const answer = await send(url, { ...init, headers, signal: signal ? AbortSignal.any([signal, limit]) : limit });
        if (answer.ok) return await contentOf(answer, host);
        failure = await refusalOf(answer, host);
        if (![408, 425, 429].includes(answer.status) && answer.status < 500) throw failure;
        asked = retryAfter(answer.headers, Date.now());
      } catch (error) {
        if (error instanceof MlflowError) throw error;
        signal?.throwIfAborted();
        const why = limit.aborted ? `no answer within ${timeoutMs / 1000} s` : causeOf(error);
        failure = new MlflowError(`MLflow at ${host} cannot be reached (${why})`);
      }
      const wait = waitBefore(attempt, asked, 0, { retries, backoffMs, maxWaitMs });
      if (wait === undefined) throw failure;
      await pause(wait, signal ?? new AbortController().signal);
    }
  }

  return {
    post: (path, body) =>
      ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    get: (path, query) => ask(`${path}?${new URLSearchParams(query)}`, { method: 'GET' }),
  };
}

async function contentOf(answer: Response, host: string): Promise<unknown> {
  try {
    return JSON.parse(await answer.text()) as unknown;
  } catch {
    throw new MlflowError(`what answers at ${host} is not MLflow: its answer is not JSON`);
  }
}

async function refusalOf(answer: Response, host: string): Promise<MlflowError> {
  const { status } = answer;
  if (status === 401 || status === 403) {
    return new MlflowError(`MLflow at ${host} does not let us in (${status}); is MLFLOW_TRACKING_TOKEN right?`);
  }
  if (status >= 300 && status < 400) return new MlflowError(`MLflow at ${host} redirects; give the address it goes to`);
  let said: { error_code?: unknown; message?: unknown } = {};
  try {
    said = (JSON.parse(await answer.text()) as typeof said | null) ?? {};
  } catch {
    // A proxy's page, say.
  }
  const reason = typeof said.error_code === 'string' ? said.error_code.slice(0, 100) : '';
  const message = typeof said.message === 'string' ? `: ${said.message.replace(/\p{Cc}+/gu, ' ').slice(0, 200)}` : '';
  return new MlflowError(`MLflow at ${host} answers ${status}${reason ? ` ${reason}` : ''}${message}`, reason);
}

/** What fetch wraps. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : messageOf(cause);
}
