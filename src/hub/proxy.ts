/** Connections to a host, through a proxy where the environment names one: absolute requests for http, CONNECT for https. */
import http, { type RequestOptions } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import { S3aError } from '../errors.ts';
import type { ProxyVariables } from './environment.ts';

// Beyond the time that requests are given, so that a proxy which says nothing does not keep the process alive.
const CONNECT_TIMEOUT_MS = 60_000;

/** How a request to one address is sent. */
export interface Route {
  readonly request: typeof http.request;
  readonly options: RequestOptions;
  /** The proxy's host and port, for messages. */
  readonly proxy: string | undefined;
}

/**
 * Finds the way to an address and keeps its connections open for the next request; idle ones do not keep the process alive.
 */
export function createRouter(proxies: ProxyVariables): { route(url: URL): Route; close(): void } {
  const agents = new Map<string, http.Agent>();
  const agentOf = (key: string, make: () => http.Agent): http.Agent => {
    const agent = agents.get(key) ?? make();
    agents.set(key, agent);
    return agent;
  };
  return {
    route(url) {
      const secure = url.protocol === 'https:';
      const target: RequestOptions = {
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port || (secure ? 443 : 80),
        path: `${url.pathname}${url.search}`,
      };
      const proxy = proxyFor(url, proxies);
      const request = secure ? https.request : http.request;
      if (proxy === undefined) {
        const make = (): http.Agent => new (secure ? https : http).Agent({ keepAlive: true });
        return { request, options: { ...target, agent: agentOf(url.protocol, make) }, proxy };
      }
      if (secure) {
        const agent = agentOf(`tunnel ${proxy.href}`, () => tunnelAgent(proxy));
        return { request, options: { ...target, agent }, proxy: proxy.host };
      }
      const overTls = proxy.protocol === 'https:';
      const agent = agentOf(proxy.href, () => new (overTls ? https : http).Agent({ keepAlive: true }));
      const { host, port } = hostOf(proxy);
      const headers = { host: url.host, ...authorization(proxy) };
      const options = { host, port, path: `${url.origin}${target.path}`, headers, agent };
      return { request: overTls ? https.request : http.request, options, proxy: proxy.host };
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/**
 * The proxy for an address, or undefined for a direct connection.
 *
 * Throws S3aError CONFIG for one that cannot be used.
 */
export function proxyFor(url: URL, { http, https, no }: ProxyVariables): URL | undefined {
  const text = url.protocol === 'https:' ? https : http;
  if (text === undefined || excepted(url, no)) return undefined;
  // `proxy.example:3128` is common, and is not an address by itself.
  const address = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const proxy = URL.canParse(address) ? new URL(address) : undefined;
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  if (!proxy?.hostname || !/^https?:$/.test(proxy.protocol)) {
    throw new S3aError(
      'CONFIG',
      `${name} does not name an http(s) proxy`,
      'Give one such as http://proxy.example:3128, or unset it; SOCKS proxies are not supported.',
    );
  }
  return proxy;
}

/** NO_PROXY: hosts, domains with or without a leading dot, each with or without a port, or `*`. */
function excepted(url: URL, no: string | undefined): boolean {
  const host = url.hostname.toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return (no ?? '')
    .toLowerCase()
    .split(/[\s,]+/)
    .some(entry => {
      if (entry === '') return false;
      if (entry === '*') return true;
      const [, name = entry, itsPort] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
      const domain = name.replace(/^\*?\.+/, '');
      return domain !== '' && (itsPort ?? port) === port && (host === domain || host.endsWith(`.${domain}`));
    });
}

function hostOf(proxy: URL): { host: string; port: string } {
  return {
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port || (proxy.protocol === 'https:' ? '443' : '80'),
  };
}

function authorization({ username, password }: URL): Record<string, string> {
  if (!username && !password) return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** Marks an error that the proxy, not the hub, is the reason of. */
export class ProxyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ProxyError';
  }
}

/** An agent whose connections are TLS inside a tunnel that the proxy opens. */
function tunnelAgent(proxy: URL): http.Agent {
  const agent = new https.Agent({ keepAlive: true });
  // Node lets a connection be handed over later, which its types do not know.
  const connect = (options: tls.ConnectionOptions, done: (error: Error | null, socket?: Socket) => void): void => {
    const target = `${String(options.host).includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
    const request = (proxy.protocol === 'https:' ? https : http).request({
      ...hostOf(proxy),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...authorization(proxy) },
      agent: false,
      timeout: CONNECT_TIMEOUT_MS,
    });
    request.on('timeout', () => request.destroy(new Error(`no answer for ${CONNECT_TIMEOUT_MS / 1000} s`)));
    request.on('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        return done(new ProxyError(`the proxy ${proxy.host} answers ${response.statusCode} to CONNECT`));
      }
      done(null, tls.connect({ ...options, socket, servername: options.servername || undefined }));
    });
    request.on('error', error => done(new ProxyError(`the proxy ${proxy.host} cannot be used (${error.message})`)));
    request.end();
  };
  return Object.assign(agent, { createConnection: connect });
}
