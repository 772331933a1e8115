/** A local forward proxy: absolute requests for http, CONNECT for https, with a password if one is wanted. */
import http, { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ProxyServer {
  /** With the user and the password, when there are any. */
  readonly url: string;
  /** `GET http://…` and `CONNECT host:port`, as they came. */
  readonly seen: string[];
  close(): Promise<void>;
}

/** Starts the proxy; every host is reached on this machine. */
export async function proxyServer(user?: { name: string; password: string }): Promise<ProxyServer> {
  const seen: string[] = [];
  const tunnels = new Set<Duplex>();
  const expected = user && `Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}`;
  const server = createServer((incoming, response) => {
    const { method, url = '', headers } = incoming;
    seen.push(`${method} ${url}`);
    const { 'proxy-authorization': given, ...rest } = headers;
    if (given !== expected) return response.writeHead(407).end();
    const onward = http.request(url, { method, headers: rest }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.writeHead(502).end());
    incoming.pipe(onward);
  });
  server.on('connect', (incoming, socket) => {
    seen.push(`CONNECT ${incoming.url}`);
    if (incoming.headers['proxy-authorization'] !== expected) {
      return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    }
    const port = Number(incoming.url?.split(':').at(-1));
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    tunnels.add(socket).add(onward);
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const login = user ? `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@` : '';
  return {
    url: `http://${login}127.0.0.1:${port}`,
    seen,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
        // Node no longer counts what became a tunnel.
        for (const tunnel of tunnels) tunnel.destroy();
      }),
  };
}
