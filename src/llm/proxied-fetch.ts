/** A fetch that goes through the proxy which HTTP_PROXY, HTTPS_PROXY or ALL_PROXY name: Node's own knows none. */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { createRouter, ProxyError, proxyFor } from '../hub/proxy.ts';

/** Variables of an environment, such as `process.env`. */
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * `fetch` for string bodies, through a proxy where the environment names one and NO_PROXY does not except the host. The machine
 * itself is never asked for through a proxy. No redirect is followed.
 *
 * Throws S3aError CONFIG for a proxy that cannot be used, `ProxyError` when it does not work.
 */
export function proxiedFetch(environment: Environment): typeof fetch {
  const get = (name: string): string | undefined => environment[name.toLowerCase()] || environment[name] || undefined;
  const all = get('ALL_PROXY');
  const proxies = { http: get('HTTP_PROXY') ?? all, https: get('HTTPS_PROXY') ?? all, no: get('NO_PROXY') };
  const router = createRouter(proxies);
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (isLoopback(url.hostname) || !proxyFor(url, proxies)) return fetch(input, { ...init, redirect: 'manual' });
    const { request, options, proxy } = router.route(url);
    const headers = { ...Object.fromEntries(new Headers(init.headers)), ...options.headers };
    const body = typeof init.body === 'string' ? init.body : '';
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request({
        ...options,
        method: init.method ?? 'GET',
        headers: { 'accept-encoding': 'identity', 'content-length': Buffer.byteLength(body), ...headers },
        signal: init.signal ?? undefined,
      });
      sent.on('response', resolve);
      sent.on('error', error => {
        const unreached = 'code' in error && error.code === 'ECONNREFUSED';
        reject(unreached ? new ProxyError(`the proxy ${proxy} cannot be used (${error.message})`) : error);
      });
      sent.end(body);
    });
    const { statusCode: status = 502, statusMessage: statusText } = answer;
    const listed = Object.entries(answer.headersDistinct).flatMap(([name, values = []]) =>
      values.map((value): [string, string] => [name, value]),
    );
    const hasBody = status !== 204 && status !== 304;
    return new Response(hasBody ? (Readable.toWeb(answer) as ReadableStream<Uint8Array>) : null, {
      status,
      statusText,
      headers: listed,
    });
  };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || /^127\.\d+\.\d+\.\d+$/.test(host) || host === '[::1]';
}
