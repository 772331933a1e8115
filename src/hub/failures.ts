/** What goes wrong with a hub, each as one clear line with what to do. */
import { messageOf, S3aError } from '../errors.ts';
import type { Layout } from './choose.ts';
import { RedirectError, TimeoutError } from './http.ts';
import type { RepoName } from './names.ts';
import { shown } from './names.ts';
import { ProxyError } from './proxy.ts';

/** An answer with a status that is no success. */
export class StatusError extends Error {
  readonly status: number;
  /** Who answered. */
  readonly host: string;
  /** The hub's own reason, such as `GatedRepo`; empty when it gives none. */
  readonly reason: string;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, host: string, reason: string, retryAfterMs?: number) {
    super(`status ${status}${reason ? ` (${shown(reason)})` : ''}`);
    this.name = 'StatusError';
    this.status = status;
    this.host = host;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What a request was about. */
export interface Subject extends RepoName {
  readonly endpoint: string;
  readonly hasToken: boolean;
  /** The files that make a model when they are put into a folder. */
  readonly needed: string;
  /** The option that takes such a folder; default `--model`. */
  readonly flag?: string;
}

/** The files that make a model, for who places them by hand. */
export function neededFiles(layout: Layout | undefined): string {
  return layout === 'open_clip'
    ? 'open_clip_config.json and open_clip_model.safetensors'
    : 'config.json, tokenizer.json, preprocessor_config.json and model.safetensors';
}

/** How to go on without the hub. */
export function byHand({ repo, needed, flag = '--model' }: Pick<Subject, 'repo' | 'needed' | 'flag'>): string {
  const demo = flag === '--model' ? '; --model demo needs no network' : '';
  return `Without the hub: put ${needed} of ${repo} into a folder, and give that folder with ${flag}${demo}.`;
}

/** Whether the same request may succeed later. */
export function mayPass(error: unknown): boolean {
  if (error instanceof StatusError) return [408, 425, 429].includes(error.status) || error.status >= 500;
  if (error instanceof S3aError || error instanceof RedirectError || isOfTheDisk(error)) return false;
  if (isCertificate(codeOf(error))) return false;
  return error instanceof TimeoutError || error instanceof ProxyError || codeOf(error) !== '';
}

const DISK_CODES = new Set(
  'ENOSPC EDQUOT EFBIG EACCES EPERM EROFS EISDIR ENOTDIR EEXIST ENOENT ENAMETOOLONG EMFILE ENFILE EIO ELOOP'.split(' '),
);

/** Whether it is the local disk that failed, not the network. */
export function isOfTheDisk(error: unknown): boolean {
  if (!(error instanceof Error) || !('syscall' in error)) return false;
  // A firewall's refusal to connect is EACCES or EPERM, too.
  return DISK_CODES.has(codeOf(error)) && error.syscall !== 'connect';
}

/** Whether it is the network, the hub's health or the right to ask that failed: a cached copy can be used then. */
export function leavesCache(error: unknown): boolean {
  if (error instanceof StatusError) return mayPass(error) || error.status === 401 || error.status === 403;
  return mayPass(error) || error instanceof RedirectError || isCertificate(codeOf(error));
}

/** The one line for whatever a request to the hub threw; an S3aError passes through unchanged. */
export function explain(error: unknown, subject: Subject): S3aError {
  if (error instanceof S3aError) return error;
  const { endpoint, repo } = subject;
  const fail = (code: string, message: string, hint: string): S3aError =>
    new S3aError(code, message, hint, { cause: error });
  if (error instanceof StatusError) return explainStatus(error, subject, fail);
  if (error instanceof ProxyError) {
    const hint = 'Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY.';
    return fail('HUB_UNREACHABLE', `cannot reach ${endpoint}: ${error.message}`, `${hint} ${byHand(subject)}`);
  }
  if (error instanceof RedirectError) {
    return fail('HUB_ANSWER', `cannot get ${repo}: ${error.message}`, 'Check HF_ENDPOINT and the proxy settings.');
  }
  const code = codeOf(error);
  if (isCertificate(code)) {
    const hint = 'If a proxy inspects encrypted traffic here, name its certificate with NODE_EXTRA_CA_CERTS.';
    return fail('HUB_UNREACHABLE', `the certificate of ${endpoint} is not trusted (${code})`, hint);
  }
  if (error instanceof TimeoutError) {
    const hint = 'A larger HF_HUB_DOWNLOAD_TIMEOUT (seconds) may help; what was downloaded is kept.';
    return fail('HUB_UNREACHABLE', `cannot reach ${endpoint}: ${error.message}`, `${hint} ${byHand(subject)}`);
  }
  if (code !== '') {
    return fail('HUB_UNREACHABLE', `cannot reach ${endpoint} (${code}) for ${repo}`, byHand(subject));
  }
  return fail(
    'HUB_ANSWER',
    `${endpoint} gave an answer about ${repo} that cannot be read (${shown(messageOf(error))})`,
    'Check HF_ENDPOINT; behind a proxy or a login page, the answer may not be the hub’s.',
  );
}

function explainStatus(
  { status, reason, host }: StatusError,
  subject: Subject,
  fail: (code: string, message: string, hint: string) => S3aError,
): S3aError {
  const { endpoint, repo, revision, file, hasToken } = subject;
  const page = `${endpoint}/${repo}`;
  if (host !== new URL(endpoint).host && reason === '' && status < 500 && status !== 429) {
    const hint = `Does a proxy or a firewall block ${host}? ${byHand(subject)}`;
    return fail('HUB_UNREACHABLE', `${host}, where the files of ${repo} are, answers ${status}`, hint);
  }
  if (reason === 'RevisionNotFound') {
    return fail('MODEL', `${repo} has no revision ${shown(revision)}`, `Its branches and tags are listed at ${page}.`);
  }
  if (reason === 'EntryNotFound' || (status === 404 && file !== undefined)) {
    return fail('MODEL', `${repo} has no file ${shown(file ?? '')}`, `Its files are listed at ${page}.`);
  }
  if (reason === 'GatedRepo' || status === 403) {
    const hint = `Accept its terms at ${page} and set HF_TOKEN to a token of that account.`;
    return fail(
      'HUB_AUTH',
      `${repo} is gated, and ${hasToken ? 'the token gives no access' : 'no token is set'}`,
      hint,
    );
  }
  if (status === 401 || status === 404) {
    const hint = `Check the name and the revision at ${page}; if the model is private or gated, set HF_TOKEN.`;
    const refused = hasToken && status === 401 ? '; the token is refused' : '';
    return fail(
      status === 404 ? 'MODEL' : 'HUB_AUTH',
      `there is no public model ${repo}@${revision}, and no folder of that name${refused}`,
      hint,
    );
  }
  if (status === 429) {
    const hint = hasToken ? 'Try again later.' : 'Try again later, or set HF_TOKEN, which raises the limit.';
    return fail('HUB_RATE', `${endpoint} says that it is asked too often`, `${hint} What was downloaded is kept.`);
  }
  if (status >= 500 || status === 408) {
    return fail('HUB_UNREACHABLE', `${endpoint} fails with status ${status}`, `Try again later. ${byHand(subject)}`);
  }
  return fail('HUB_ANSWER', `${endpoint} answers ${status} about ${repo}`, 'Check HF_ENDPOINT and the model’s name.');
}

/** The system's code of an error, or of what caused it; empty when it has none. */
function codeOf(error: unknown, depth = 0): string {
  if (!(error instanceof Error) || depth > 8) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  // Several addresses were tried, and each failed for its own reason.
  return codeOf(error instanceof AggregateError ? error.errors[0] : error.cause, depth + 1);
}

function isCertificate(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS|ERR_SSL|HOSTNAME_MISMATCH/.test(code);
}
