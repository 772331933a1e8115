/** What the hub says about a repository: its commit, its files, and each file's size and content hash. */
import { S3aError } from '../errors.ts';
import type { HubSettings } from './environment.ts';
import { StatusError } from './failures.ts';
import { drop, type HttpClient, type HubResponse, textOf } from './http.ts';
import { isCommit, isFilePath, type RepoName } from './names.ts';

/** A file of a repository as the hub lists it. */
export interface ListedFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of the content, for large files. */
  readonly sha256?: string;
  /** Git's SHA-1 of the content, for the others. */
  readonly gitSha1?: string;
}

/** A file as it can be downloaded. */
export interface RemoteFile {
  readonly path: string;
  readonly url: URL;
  readonly size: number;
  /** The name of its blob in the cache; the content's hash where the hub is the real one. */
  readonly etag: string;
  readonly sha256: string | undefined;
  readonly gitSha1: string | undefined;
}

// Real repositories of models have tens of files and answers of some kilobytes.
const MAX_FILES = 20_000;
const MAX_PAGES = 100;
const MAX_ANSWER = 32 << 20;

/** Asks one hub. */
export interface HubApi {
  /** The commit that a revision stands for. */
  commitOf(name: RepoName, signal?: AbortSignal): Promise<string>;
  /** The files of a commit; entries that no disk should hold are left out. */
  filesOf(repo: string, commit: string, signal?: AbortSignal): Promise<ListedFile[]>;
  /** What to expect from the download of a file. */
  inspect(repo: string, commit: string, file: ListedFile, signal?: AbortSignal): Promise<RemoteFile>;
}

/** All of its methods throw StatusError, S3aError HUB_ANSWER and what `HttpClient.send` throws. */
export function createHubApi(client: HttpClient, { endpoint, etagTimeoutMs }: HubSettings): HubApi {
  const timeoutMs = etagTimeoutMs;

  async function json(url: URL, signal?: AbortSignal): Promise<{ value: unknown; response: HubResponse }> {
    const response = await client.send(url, { timeoutMs, signal });
    expectSuccess(response);
    let text: string;
    try {
      text = await textOf(response, timeoutMs, MAX_ANSWER);
    } catch (error) {
      throw error instanceof RangeError || error instanceof TypeError ? lie(url, error.message) : error;
    }
    try {
      return { value: JSON.parse(text) as unknown, response };
    } catch {
      throw lie(url, 'it is not JSON');
    }
  }

  return {
    async commitOf({ repo, revision }, signal) {
      const url = new URL(`${endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`);
      const { value } = await json(url, signal);
      const sha = member(value, 'sha');
      if (typeof sha !== 'string' || !isCommit(sha)) throw lie(url, 'it names no commit');
      return sha;
    },

    async filesOf(repo, commit, signal) {
      const files = new Map<string, ListedFile>();
      const start = new URL(`${endpoint}/api/models/${repo}/tree/${commit}?recursive=true&expand=false`);
      let url: URL | undefined = start;
      for (let page = 0; url !== undefined; page++) {
        const { value, response }: { value: unknown; response: HubResponse } = await json(url, signal);
        if (!Array.isArray(value)) throw lie(url, 'it is not a list of files');
        for (const entry of value as unknown[]) {
          const file = listed(entry);
          if (file) files.set(file.path, file);
        }
        const next = nextPage(response, url);
        if ((next && page >= MAX_PAGES) || files.size > MAX_FILES) throw lie(start, 'it lists too many files');
        url = next;
      }
      return [...files.values()];
    },

    async inspect(repo, commit, { path, size, sha256, gitSha1 }, signal) {
      const encoded = path.split('/').map(encodeURIComponent).join('/');
      const url = new URL(`${endpoint}/${repo}/resolve/${commit}/${encoded}`);
      const response = await client.send(url, { method: 'HEAD', timeoutMs, stayOnHub: true, signal });
      const { headers, status } = response;
      expectSuccess(response, true);
      drop(response);
      const sent = headers['x-repo-commit'];
      if (sent !== undefined && sent !== commit) throw lie(url, 'it is about another commit');
      const etag = etagOf(first(headers['x-linked-etag']) ?? headers.etag);
      if (etag === undefined) throw lie(url, 'it has no usable ETag');
      const redirect = status >= 300 && status < 400;
      const length = first(headers['x-linked-size']) ?? (redirect ? undefined : headers['content-length']);
      if (length !== undefined && Number(length) !== size)
        throw lie(url, `it is of ${length} bytes, listed as ${size}`);
      const itsSha256 = hex(etag, 64) ?? sha256;
      return { path, url, size, etag, sha256: itsSha256, gitSha1: itsSha256 ? undefined : (hex(etag, 40) ?? gitSha1) };
    },
  };
}

/** Throws StatusError for an answer that is neither a success nor, where that is enough, a redirect. */
export function expectSuccess(response: HubResponse, redirect = false): void {
  const { status, headers, url } = response;
  if ((status >= 200 && status < 300) || (redirect && status >= 300 && status < 400)) return;
  drop(response);
  throw new StatusError(status, url.host, first(headers['x-error-code']) ?? '', retryAfter(headers['retry-after']));
}

function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,6}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function lie(url: URL, what: string): S3aError {
  return new S3aError(
    'HUB_ANSWER',
    `the answer of ${url.host} to ${url.pathname} cannot be used: ${what}`,
    'Check HF_ENDPOINT and the proxy settings, or try again later.',
  );
}

function listed(entry: unknown): ListedFile | undefined {
  const path = member(entry, 'path');
  if (member(entry, 'type') !== 'file' || typeof path !== 'string' || !isFilePath(path)) return undefined;
  const lfs = member(entry, 'lfs');
  const size = member(lfs, 'size') ?? member(entry, 'size');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined;
  const sha256 = hex(member(lfs, 'oid'), 64);
  // The id of a large file's entry is that of its pointer, not of its content.
  const gitSha1 = lfs === undefined ? hex(member(entry, 'oid'), 40) : undefined;
  return { path, size, ...(sha256 ? { sha256 } : {}), ...(gitSha1 ? { gitSha1 } : {}) };
}

function nextPage({ headers }: HubResponse, url: URL): URL | undefined {
  const [, link] = /<([^>]+)>\s*;\s*rel="?next"?/.exec(first(headers.link) ?? '') ?? [];
  const next = link !== undefined && URL.canParse(link, url.href) ? new URL(link, url) : undefined;
  // Mirrors pass on the hub's own address; the token and the requests stay where they were sent.
  return next && new URL(`${url.pathname}${next.search}`, url);
}

/** An ETag as the name of a blob. Source: huggingface_hub's _normalize_etag. */
function etagOf(header: string | undefined): string | undefined {
  const etag = header?.replace(/^W\//, '').replace(/^"|"$/g, '');
  return etag !== undefined && /^[A-Za-z0-9][\w-]{7,127}$/.test(etag) ? etag : undefined;
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function hex(value: unknown, length: number): string | undefined {
  return typeof value === 'string' && value.length === length && /^[0-9a-f]+$/.test(value) ? value : undefined;
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
