/** A local server that speaks the Hugging Face hub's protocol, with its files on another origin, and misbehaves as told. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A repository that the server has. */
export interface ServedRepo {
  /** By path. */
  readonly files: Readonly<Record<string, Buffer>>;
  /** The commit of its files. */
  readonly commit: string;
  /** Other names of the commit; `main` is always one. */
  readonly revisions?: readonly string[];
  /** Only for requests with the server's token. */
  readonly gated?: boolean;
  /** The repository was renamed to this one. */
  readonly movedTo?: string;
}

/** One request as it came in. */
export interface HubRequestSeen {
  readonly origin: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/** How the body of one file is sent. */
export interface Sending {
  /** Stop in the middle of the connection after so many bytes. */
  readonly cutAfter?: number;
  /** Send nothing more after so many bytes, and keep the connection. */
  readonly stallAfter?: number;
  /** Ignore Range. */
  readonly noRange?: boolean;
  /** Wait this long after each 64 KiB. */
  readonly pauseMs?: number;
}

export interface HubServer {
  readonly url: string;
  readonly cdn: string;
  readonly token: string;
  readonly repos: Map<string, ServedRepo>;
  readonly requests: HubRequestSeen[];
  /** Answers a request instead of the server; false leaves it to the server. */
  intercept: (request: HubRequestSeen, response: ServerResponse) => boolean | Promise<boolean>;
  /** How the files on the other origin are sent. */
  sending: (request: HubRequestSeen) => Sending;
  /** Entries that the list of files has besides the real ones. */
  extraEntries: unknown[];
  /** Entries of the list of files in one answer. */
  pageSize: number;
  close(): Promise<void>;
}

/** Files that Git itself holds are small; the others are on the other origin. */
export function isLarge(path: string): boolean {
  return /\.(safetensors|bin|onnx|model)$/.test(path);
}

export function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

export function gitSha1(data: Buffer): string {
  return createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
}

/** Starts the hub on 127.0.0.1 and the other origin on localhost. */
export async function hubServer(): Promise<HubServer> {
  const blobs = new Map<string, Buffer>();
  const requests: HubRequestSeen[] = [];
  const listen = async (origin: 'hub' | 'cdn', answer: (seen: HubRequestSeen, response: ServerResponse) => void) => {
    const server = createServer((incoming, response) => {
      const { method = '', url = '', headers } = incoming;
      const seen = { origin, method, path: url, headers };
      requests.push(seen);
      response.on('error', () => {});
      void Promise.resolve(self.intercept(seen, response)).then(done => done || answer(seen, response));
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return server;
  };
  const hub = await listen('hub', (seen, response) => answerHub(self, blobs, seen, response));
  const cdn = await listen('cdn', (seen, response) => {
    const data = blobs.get(seen.path.split(/[/?]/)[1]);
    if (data) send(response, seen, data, self.sending(seen), {});
    else response.writeHead(403).end('expired');
  });
  const self: HubServer = {
    url: `http://127.0.0.1:${portOf(hub)}`,
    cdn: `http://localhost:${portOf(cdn)}`,
    token: 'hf_secretToken',
    repos: new Map(),
    requests,
    intercept: () => false,
    sending: () => ({}),
    extraEntries: [],
    pageSize: 1000,
    close: async () => {
      await Promise.all([hub, cdn].map(closed));
    },
  };
  return self;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function closed(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function answerHub(
  self: HubServer,
  blobs: Map<string, Buffer>,
  seen: HubRequestSeen,
  response: ServerResponse,
): unknown {
  const url = new URL(seen.path, self.url);
  const fail = (status: number, reason: string): unknown =>
    response
      .writeHead(status, { 'x-error-code': reason, 'x-error-message': reason })
      .end(JSON.stringify({ error: reason }));
  const [, org, name] = /^\/(?:api\/(?:resolve-cache\/)?models\/)?([^/]+)\/([^/]+)/.exec(url.pathname) ?? [];
  const repo = self.repos.get(`${org}/${name}`);
  if (!repo) return fail(401, 'RepoNotFound');
  if (repo.movedTo) {
    return response.writeHead(307, { location: seen.path.replace(`${org}/${name}`, repo.movedTo) }).end();
  }
  const allowed = seen.headers.authorization === `Bearer ${self.token}`;
  if (repo.gated && !allowed) return fail(seen.headers.authorization ? 403 : 401, 'GatedRepo');
  const isRevision = (text: string): boolean =>
    ['main', repo.commit, ...(repo.revisions ?? [])].includes(decodeURIComponent(text));
  const json = (value: unknown, headers: Record<string, string> = {}): unknown =>
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));

  const [, revision] = /^\/api\/models\/[^/]+\/[^/]+\/revision\/([^/]+)$/.exec(url.pathname) ?? [];
  if (revision !== undefined) {
    if (!isRevision(revision)) return fail(404, 'RevisionNotFound');
    const siblings = Object.keys(repo.files).map(rfilename => ({ rfilename }));
    return json({
      _id: '0',
      id: `${org}/${name}`,
      sha: repo.commit,
      private: false,
      tags: [],
      downloads: 0,
      likes: 0,
      siblings,
    });
  }
  const [, tree] = /^\/api\/models\/[^/]+\/[^/]+\/tree\/([^/]+)$/.exec(url.pathname) ?? [];
  if (tree !== undefined) {
    if (!isRevision(tree)) return fail(404, 'RevisionNotFound');
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const entries = [...self.extraEntries, ...Object.entries(repo.files).map(([path, data]) => entryOf(path, data))];
    url.searchParams.set('cursor', String(from + self.pageSize));
    const more = from + self.pageSize < entries.length ? { link: `<${url.href}>; rel="next"` } : undefined;
    return json(entries.slice(from, from + self.pageSize), more);
  }
  const [, cached, of, file = ''] =
    /^\/(api\/resolve-cache\/models\/)?[^/]+\/[^/]+\/(?:resolve\/)?([^/]+)\/(.+)$/.exec(url.pathname) ?? [];
  if (of === undefined || !isRevision(of)) return fail(404, 'RevisionNotFound');
  const path = decodeURIComponent(file);
  const data = repo.files[path];
  const headers = { 'x-repo-commit': repo.commit };
  if (!data) {
    return response.writeHead(404, { ...headers, 'x-error-code': 'EntryNotFound' }).end();
  }
  if (isLarge(path)) {
    blobs.set(sha256(data), data);
    const about = { 'x-linked-etag': `"${sha256(data)}"`, 'x-linked-size': String(data.length) };
    return response.writeHead(302, { ...headers, ...about, location: `${self.cdn}/${sha256(data)}?signature=1` }).end();
  }
  const about = { ...headers, etag: `"${gitSha1(data)}"` };
  if (cached === undefined) {
    const location = `/api/resolve-cache/models/${org}/${name}/${repo.commit}/${file}`;
    return response.writeHead(307, { ...about, location }).end();
  }
  send(response, seen, data, {}, about);
}

function entryOf(path: string, data: Buffer): unknown {
  if (!isLarge(path)) return { type: 'file', oid: gitSha1(data), size: data.length, path };
  const lfs = { oid: sha256(data), size: data.length, pointerSize: 134 };
  return { type: 'file', oid: gitSha1(Buffer.from(`version 1 ${sha256(data)}`)), size: data.length, lfs, path };
}

function send(
  response: ServerResponse,
  { method, headers }: HubRequestSeen,
  data: Buffer,
  { cutAfter, stallAfter, noRange, pauseMs }: Sending,
  more: Record<string, string>,
): unknown {
  const [, from] = (noRange ? undefined : /^bytes=(\d+)-$/.exec(headers.range ?? '')) ?? [];
  const start = Number(from ?? 0);
  if (from !== undefined && start >= data.length) {
    return response.writeHead(416, { 'content-range': `bytes */${data.length}` }).end();
  }
  const body = data.subarray(start);
  const range = from === undefined ? {} : { 'content-range': `bytes ${start}-${data.length - 1}/${data.length}` };
  response.writeHead(from === undefined ? 200 : 206, { 'content-length': body.length, ...range, ...more });
  if (method === 'HEAD') return response.end();
  const stop = cutAfter ?? stallAfter;
  if (stop !== undefined && stop < body.length) {
    response.write(body.subarray(0, stop), () => {
      // Give the other side time to take what was sent; then the connection breaks or falls silent.
      if (cutAfter !== undefined) setTimeout(() => response.destroy(), 20);
    });
    return;
  }
  if (pauseMs === undefined) return response.end(body);
  const step = 1 << 16;
  const next = (at: number): void => {
    if (at >= body.length) {
      response.end();
      return;
    }
    response.write(body.subarray(at, at + step));
    setTimeout(() => next(at + step), pauseMs);
  };
  next(0);
}
