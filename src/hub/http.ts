/** Requests to the hub: redirects followed one by one, the token kept to the hub, silence cut off. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { HubSettings } from './environment.ts';
import { createRouter, ProxyError } from './proxy.ts';

/** An answer whose body is still to come. */
export interface HubResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Where it came from, after redirects. */
  readonly url: URL;
  readonly body: IncomingMessage;
}

export interface HubRequest {
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  /** The longest silence before the answer begins, in milliseconds. */
  readonly timeoutMs: number;
  /** Stop at a redirect that leaves the hub: what it says about the file is in that answer. */
  readonly stayOnHub?: boolean;
  readonly signal?: AbortSignal;
}

/** Sends requests with the settings of one hub. */
export interface HttpClient {
  /** Throws TimeoutError, ProxyError, RedirectError or what the system says. The caller reads or destroys the body. */
  send(url: URL, request: HubRequest): Promise<HubResponse>;
  close(): void;
}

/** Nothing came for too long. */
export class TimeoutError extends Error {
  constructor(host: string, timeoutMs: number) {
    super(`${host} sent nothing for ${timeoutMs / 1000} s`);
    this.name = 'TimeoutError';
  }
}

/** A redirect that is not followed. */
export class RedirectError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RedirectError';
  }
}

const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const HUB_HOSTS = new Set(['huggingface.co', 'hf.co', 'hub-ci.huggingface.co']);

/** A client that follows redirects and sends the token to the hub alone. */
export function createHttpClient({ endpoint, token, proxies }: HubSettings): HttpClient {
  const router = createRouter(proxies);
  const hub = new URL(endpoint);
  // A mirror's token must not travel in the clear to a host that only has the hub's name.
  const isHub = (url: URL): boolean =>
    url.origin === hub.origin || (url.protocol === 'https:' && HUB_HOSTS.has(url.host));

  async function send(first: URL, request: HubRequest): Promise<HubResponse> {
    let url = first;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await exchange(url, request);
      const { location } = response.headers;
      if (!REDIRECTS.has(response.status) || location === undefined) return response;
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (request.stayOnHub && next && !isHub(next)) return response;
      drop(response);
      if (!next || !/^https?:$/.test(next.protocol)) throw new RedirectError(`${url.host} redirects to no address`);
      if (url.protocol === 'https:' && next.protocol === 'http:') {
        throw new RedirectError(`${url.host} redirects to ${next.host} without encryption`);
      }
      url = next;
    }
    throw new RedirectError(`${first.host} redirects more than ${MAX_REDIRECTS} times`);
  }

  function exchange(url: URL, { method = 'GET', headers = {}, timeoutMs, signal }: HubRequest): Promise<HubResponse> {
    const { request, options, proxy } = router.route(url);
    return new Promise((resolve, reject) => {
      const sent = request({
        ...options,
        method,
        headers: {
          'user-agent': `s3a; node/${process.versions.node}`,
          // Sizes and ranges are those of the file only when nothing is compressed on the way.
          'accept-encoding': 'identity',
          ...(token !== undefined && isHub(url) ? { authorization: `Bearer ${token}` } : {}),
          ...headers,
          ...options.headers,
        },
        signal,
      });
      const timer = setTimeout(() => sent.destroy(new TimeoutError(url.host, timeoutMs)), timeoutMs);
      sent.on('response', body => {
        clearTimeout(timer);
        // An error after the head reaches whoever reads the body; nobody reading is no reason to crash.
        body.on('error', () => {});
        const status = body.statusCode ?? 0;
        if (proxy !== undefined && status === 407) {
          body.destroy();
          return reject(new ProxyError(`the proxy ${proxy} wants a user name and a password`));
        }
        resolve({ status, headers: body.headers, url, body });
      });
      sent.on('error', error => {
        clearTimeout(timer);
        const viaProxy = proxy !== undefined && url.protocol === 'http:' && !(error instanceof TimeoutError);
        reject(viaProxy ? new ProxyError(`the proxy ${proxy} cannot be used (${error.message})`) : error);
      });
      sent.end();
    });
  }

  return { send, close: () => router.close() };
}

/** Leaves a body unread; a short one is let through, so that the connection can be used again. */
export function drop({ headers, body }: HubResponse): void {
  if (Number(headers['content-length'] ?? 0) <= 1 << 16 && headers['transfer-encoding'] === undefined) body.resume();
  else body.destroy();
}

/**
 * The body in pieces; ends the connection when it is left early.
 *
 * Throws TimeoutError when nothing comes for `timeoutMs`, and what the system says when the connection breaks.
 */
export async function* piecesOf({ body, url }: HubResponse, timeoutMs: number): AsyncGenerator<Buffer> {
  const pieces = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      // The clock runs only while waiting for the other side, not while a piece is written to a slow disk.
      const timer = setTimeout(() => body.destroy(new TimeoutError(url.host, timeoutMs)), timeoutMs);
      const piece = await pieces.next().finally(() => clearTimeout(timer));
      if (piece.done) return;
      yield piece.value;
    }
  } finally {
    body.destroy();
  }
}

/** The whole body as text; throws RangeError beyond `limit` bytes, and what `piecesOf` throws. */
export async function textOf(response: HubResponse, timeoutMs: number, limit: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const piece of piecesOf(response, timeoutMs)) {
    size += piece.length;
    if (size > limit) throw new RangeError(`the answer is longer than ${limit} bytes`);
    parts.push(piece);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
}
