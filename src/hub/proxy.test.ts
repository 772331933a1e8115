/** Downloads through proxies: which one, for which hosts, with a password, and through a tunnel to a hub with TLS. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Fixture, fixture, IMPATIENT, MODELS } from '../../test/hub-fixture.ts';
import { type ProxyServer, proxyServer } from '../../test/proxy-server.ts';
import { type Environment, type ModelPlace, resolveModel } from './index.ts';
import { proxyFor } from './proxy.ts';

const WEIGHTS = MODELS['acme/clip']['model.safetensors'];

describe('which proxy', () => {
  const proxies = { http: 'http://plain:1', https: 'secure:2', no: undefined };
  const through = (address: string, no?: string): string | undefined =>
    proxyFor(new URL(address), { ...proxies, no })?.host;

  test('is the one for the kind of address', () => {
    expect(through('http://hub.example/')).toBe('plain:1');
    expect(through('https://hub.example/')).toBe('secure:2');
    expect(proxyFor(new URL('https://a/'), { ...proxies, https: undefined })).toBe(undefined);
  });

  test.each([
    ['hub.example', true],
    ['.hub.example', true],
    ['*.hub.example', true],
    ['example', true],
    ['a, HUB.EXAMPLE ,b', true],
    ['a b hub.example', true],
    ['*', true],
    ['hub.example:443', true],
    ['hub.example:8443', false],
    ['ub.example', false],
    ['cdn.hub.example', false],
    ['', false],
    ['.', false],
  ])('is none with NO_PROXY=%s: %s', (no, none) => {
    expect(through('https://hub.example/x', no)).toBe(none ? undefined : 'secure:2');
  });
});

describe('a hub without TLS', () => {
  let at: Fixture;
  let proxy: ProxyServer;
  beforeEach(async () => {
    at = await fixture();
    proxy = await proxyServer({ name: 'me@work', password: 'p:w' });
  });
  afterEach(async () => {
    await at.close();
    await proxy.close();
  });
  const get = (more: Environment): Promise<ModelPlace> =>
    resolveModel('acme/clip', { env: { ...at.env, ...more }, patience: IMPATIENT });

  test('is reached through the proxy, the other origin too, unless it is excepted', async () => {
    const { folder } = await get({ http_proxy: proxy.url, NO_PROXY: 'localhost' });
    expect(WEIGHTS.equals(await readFile(join(folder, 'model.safetensors')))).toBe(true);
    expect(proxy.seen).toHaveLength(at.hub.requests.filter(({ origin }) => origin === 'hub').length);
    expect(proxy.seen[0]).toBe(`GET ${at.hub.url}/api/models/acme/clip/revision/main`);
    // The password is the proxy's alone.
    expect(at.hub.requests.some(({ headers }) => 'proxy-authorization' in headers)).toBe(false);
    proxy.seen.length = 0;
    await get({ HTTP_PROXY: proxy.url, HF_HOME: join(at.home, 'other') });
    expect(proxy.seen.some(line => line.startsWith(`GET ${at.hub.cdn}/`))).toBe(true);
    proxy.seen.length = 0;
    await get({ HTTP_PROXY: proxy.url, no_proxy: '127.0.0.1,localhost', HF_HOME: join(at.home, 'third') });
    expect(proxy.seen).toEqual([]);
  });

  test('a proxy that refuses or is not there is named, without its password', async () => {
    const { host } = new URL(proxy.url);
    await expect(get({ HTTP_PROXY: `http://me:wrong@${host}` })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: `cannot reach ${at.hub.url}: the proxy ${host} wants a user name and a password`,
      hint: expect.stringMatching(/^Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY\./),
    });
    await proxy.close();
    await expect(get({ ALL_PROXY: proxy.url })).rejects.toMatchObject({
      message: expect.stringMatching(`^cannot reach ${at.hub.url}: the proxy ${host} cannot be used \\(.*ECONNREFUSED`),
    });
  });
});

const openssl = spawnSync('openssl', ['version']).status === 0;
describe.skipIf(!openssl)('a hub with TLS (needs openssl to make a certificate)', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3a-tls-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  if (openssl) {
    const subject = ['-subj', '/CN=hub.test', '-addext', 'subjectAltName=DNS:hub.test,DNS:cdn.test'];
    const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate];
    spawnSync('openssl', [...made, ...subject]);
  }

  let at: Fixture;
  let proxy: ProxyServer;
  let tls: https.Server;
  beforeEach(async () => {
    at = await fixture();
    proxy = await proxyServer({ name: 'me', password: 'secret' });
    const options = { key: readFileSync(key), cert: readFileSync(certificate) };
    tls = https.createServer(options, (incoming, response) => {
      // The hub and the other origin behind one name each.
      const { method, url = '', headers } = incoming;
      const target = headers.host?.startsWith('cdn.test') ? at.hub.cdn : at.hub.url;
      void fetch(target + url, {
        method,
        headers: { range: headers.range ?? '' },
        redirect: 'manual',
      }).then(async answer => {
        const sent = Object.fromEntries(answer.headers);
        if (sent.location) sent.location = sent.location.replace(at.hub.cdn, `https://cdn.test:${port()}`);
        const body = Buffer.from(await answer.arrayBuffer());
        response.writeHead(answer.status, sent).end(method === 'HEAD' ? undefined : body);
      });
    });
    await new Promise<void>(resolve => tls.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    await Promise.all([at.close(), proxy.close()]);
    tls.closeAllConnections();
    tls.close();
  });
  const port = (): number => (tls.address() as AddressInfo).port;

  async function get(env: Environment): Promise<string> {
    const script = `
      import { resolveModel } from '${new URL('../../dist/src/hub/index.js', import.meta.url).href}';
      const patience = { retries: 0, backoffMs: 1, maxWaitMs: 1 };
      const text = await resolveModel('acme/clip', { patience }).then(
        ({ folder }) => folder,
        error => \`\${error.code} \${error.message} | \${error.hint}\`,
      );
      console.log(text);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { PATH: process.env.PATH, ...at.env, HF_ENDPOINT: `https://hub.test:${port()}`, ...env },
    });
    let out = '';
    child.stdout.on('data', (text: Buffer) => {
      out += text.toString();
    });
    await new Promise(resolve => child.on('close', resolve));
    return out.trim();
  }

  test('is reached through a tunnel, which also names hosts that only the proxy knows', async () => {
    const place = await get({ HTTPS_PROXY: proxy.url, NODE_EXTRA_CA_CERTS: certificate });
    expect(WEIGHTS.equals(await readFile(join(place, 'model.safetensors')))).toBe(true);
    expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT hub.test:${port()}`, `CONNECT cdn.test:${port()}`]));
  });

  test('a proxy that refuses the tunnel is one line', async () => {
    const { host } = new URL(proxy.url);
    expect(await get({ HTTPS_PROXY: `http://${host}`, NODE_EXTRA_CA_CERTS: certificate })).toMatch(
      `HUB_UNREACHABLE cannot reach https://hub.test:${port()}: the proxy ${host} answers 407 to CONNECT | Check HTTPS_PROXY`,
    );
  });

  test('a certificate that nobody trusts is one line that says how to trust it', async () => {
    const line = await get({ HTTPS_PROXY: proxy.url });
    expect(line).toContain(`HUB_UNREACHABLE the certificate of https://hub.test:${port()} is not trusted (`);
    expect(line).toContain('NODE_EXTRA_CA_CERTS');
  });
});
