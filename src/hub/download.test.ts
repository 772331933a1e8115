/** Downloads against a hub that breaks off, falls silent, lies and is killed, and beside other downloads of the same file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bytes, commitOf, type Fixture, fixture, IMPATIENT, MODELS } from '../../test/hub-fixture.ts';
import { sha256 } from '../../test/hub-server.ts';
import type { S3aError } from '../errors.ts';
import { type DownloadProgress, type ModelPlace, type ResolveOptions, resolveModel } from './index.ts';

const WEIGHTS = MODELS['acme/clip']['model.safetensors'];

let at: Fixture;
beforeEach(async () => {
  at = await fixture();
});
afterEach(() => at.close());

const blobs = (...parts: string[]): string => join(at.home, 'hub', 'models--acme--clip', 'blobs', ...parts);
const part = (): string => blobs(`${sha256(WEIGHTS)}.incomplete`);

function get(options: ResolveOptions = {}): Promise<ModelPlace> {
  return resolveModel('acme/clip', { env: at.env, patience: IMPATIENT, ...options });
}

async function expectWhole({ folder }: ModelPlace, weights = WEIGHTS): Promise<void> {
  expect(weights.equals(await readFile(join(folder, 'model.safetensors')))).toBe(true);
  expect((await readdir(blobs())).filter(name => name.endsWith('.incomplete'))).toEqual([]);
}

async function failure(options: ResolveOptions = {}): Promise<S3aError> {
  const error = await get(options).then(
    () => undefined,
    (thrown: S3aError) => thrown,
  );
  expect(error).toMatchObject({ name: 'S3aError' });
  expect(`${error?.message}${error?.hint}`).not.toMatch(/[\r\n]/);
  return error as S3aError;
}

/** The ranges that the other origin was asked for. */
function ranges(): (string | undefined)[] {
  return at.hub.requests.filter(({ origin }) => origin === 'cdn').map(({ headers }) => headers.range);
}

describe('goes on', () => {
  test('where a connection broke, as often as there is progress', async () => {
    at.hub.sending = () => ({ cutAfter: 40_000 });
    await expectWhole(await get({ patience: { ...IMPATIENT, retries: 5 } }));
    // More breaks than there are attempts without progress, and never a byte twice.
    expect(ranges().length).toBeGreaterThan(6);
    const starts = ranges().map(range => Number(/\d+/.exec(range ?? '0')));
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
  });

  test('after silence', async () => {
    let requests = 0;
    at.hub.sending = () => (requests++ === 0 ? { stallAfter: 100_000 } : {});
    await expectWhole(await get({ env: { ...at.env, HF_HUB_DOWNLOAD_TIMEOUT: '1' } }));
    expect(ranges()).toEqual([undefined, 'bytes=100000-']);
  });

  test('with the part of an earlier download', async () => {
    await mkdir(blobs(), { recursive: true });
    await writeFile(part(), WEIGHTS.subarray(0, 123_456));
    const seen: DownloadProgress[] = [];
    await expectWhole(await get({ onProgress: progress => seen.push(progress) }));
    expect(ranges()).toEqual(['bytes=123456-']);
    expect(seen[0]).toMatchObject({ done: 123_456, total: WEIGHTS.length });
  });

  test('from the first byte with a server that knows no ranges', async () => {
    await mkdir(blobs(), { recursive: true });
    await writeFile(part(), WEIGHTS.subarray(0, 123_456));
    at.hub.sending = () => ({ noRange: true });
    await expectWhole(await get());
  });

  test('from the first byte after 416', async () => {
    await mkdir(blobs(), { recursive: true });
    await writeFile(part(), WEIGHTS.subarray(0, 1000));
    at.hub.intercept = ({ origin, headers }, response) => {
      if (origin !== 'cdn' || headers.range === undefined) return false;
      response.writeHead(416).end();
      return true;
    };
    await expectWhole(await get());
    expect(ranges()).toEqual(['bytes=1000-', undefined]);
  });

  test.each([
    ['of another file', bytes('other', 5000)],
    ['that is longer than the file', Buffer.alloc(WEIGHTS.length + 10)],
    ['of the same length with other bytes', Buffer.alloc(WEIGHTS.length)],
  ])('a part %s is found out and dropped', async (_, content) => {
    await mkdir(blobs(), { recursive: true });
    await writeFile(part(), content);
    await expectWhole(await get());
  });

  test('a part that is whole is only checked', async () => {
    await mkdir(blobs(), { recursive: true });
    await writeFile(part(), WEIGHTS);
    await expectWhole(await get());
    expect(ranges()).toEqual([]);
  });

  test.each([500, 502, 503, 429, 408])('after answers of %i', async status => {
    const refused = new Set<string>();
    at.hub.intercept = ({ method, path }, response) => {
      // Every question is refused once.
      const question = `${method} ${path}`;
      if (refused.has(question)) return false;
      refused.add(question);
      response.writeHead(status, { 'retry-after': '0' }).end('<html>later</html>');
      return true;
    };
    await expectWhole(await get());
  });

  test('with a fresh address when a signed one has expired', async () => {
    let expired = true;
    at.hub.intercept = ({ origin, headers }, response) => {
      if (origin !== 'cdn' || !expired || headers.range === undefined) return false;
      expired = false;
      response.writeHead(503).end();
      return true;
    };
    at.hub.sending = ({ headers }) => (headers.range === undefined ? { cutAfter: 50_000 } : {});
    await expectWhole(await get());
    const asked = at.hub.requests.filter(({ method, path }) => method === 'GET' && path.includes('/resolve/'));
    // The other origin is never asked without the hub, which signs the address.
    expect(asked.filter(({ path }) => path.endsWith('model.safetensors'))).toHaveLength(ranges().length);
    expect(expired).toBe(false);
  });
});

describe('gives up with one line', () => {
  test('on silence, and keeps what came', async () => {
    at.hub.sending = () => ({ stallAfter: 0 });
    const { code, message, hint } = await failure({ env: { ...at.env, HF_HUB_DOWNLOAD_TIMEOUT: '0.1' } });
    expect(code).toBe('HUB_UNREACHABLE');
    expect(message).toMatch(/^cannot reach http:\/\/127\.0\.0\.1:\d+: localhost:\d+ sent nothing for 0\.1 s$/);
    expect(hint).toContain('HF_HUB_DOWNLOAD_TIMEOUT');
    expect(ranges()).toHaveLength(IMPATIENT.retries + 1);
  });

  test('on a hub that says nothing at all', async () => {
    at.hub.intercept = () => true;
    const { message } = await failure({ env: { ...at.env, HF_HUB_ETAG_TIMEOUT: '0.1' } });
    expect(message).toMatch(/sent nothing for 0\.1 s$/);
  });

  test('on a server that asks for too long a wait', async () => {
    at.hub.intercept = (_, response) => {
      response.writeHead(429, { 'retry-after': '3600' }).end();
      return true;
    };
    expect(await failure()).toMatchObject({ code: 'HUB_RATE', hint: expect.stringContaining('HF_TOKEN') });
    expect(at.hub.requests).toHaveLength(1);
  });

  test('on other content than announced, which is not kept', async () => {
    at.hub.intercept = ({ origin }, response) => {
      if (origin !== 'cdn') return false;
      response.writeHead(200).end(Buffer.alloc(WEIGHTS.length));
      return true;
    };
    const { code, message } = await failure();
    expect(code).toBe('HUB_ANSWER');
    expect(message).toMatch(
      /^model\.safetensors is not what http:.* announced: its sha256 is [0-9a-f]{12}… instead of /,
    );
    expect((await readdir(blobs())).filter(name => name.startsWith(sha256(WEIGHTS)))).toEqual([]);
  });

  test('on a small file with other content than announced', async () => {
    at.hub.intercept = ({ path, method }, response) => {
      if (method !== 'GET' || !path.endsWith('/tokenizer.json')) return false;
      response.writeHead(200).end(Buffer.alloc(MODELS['acme/clip']['tokenizer.json'].length, 32));
      return true;
    };
    expect((await failure()).message).toMatch(/^tokenizer\.json is not what .* announced: its sha1 is /);
  });

  const answer = (headers: Record<string, string>, body: Buffer, status = 200): void => {
    at.hub.intercept = ({ origin }, response) => {
      if (origin !== 'cdn') return false;
      response.writeHead(status, headers).end(body);
      return true;
    };
  };

  test.each<[string, Record<string, string>, Buffer, number, string]>([
    ['a longer body', {}, Buffer.alloc(WEIGHTS.length + 1), 200, 'it is longer'],
    ['a length that is another', { 'content-length': '10' }, Buffer.alloc(10), 200, 'it has 10'],
    ['another encoding', { 'content-encoding': 'gzip' }, Buffer.alloc(10), 200, 'it is encoded (gzip)'],
    [
      'a range that nobody asked for',
      { 'content-range': 'bytes 5-9/300000' },
      Buffer.alloc(5),
      206,
      'it is another part',
    ],
    ['a range of a larger file', { 'content-range': 'bytes 0-9/99' }, Buffer.alloc(10), 206, 'it has 99'],
  ])('on %s', async (_, headers, body, status, what) => {
    answer(headers, body, status);
    const { code, message } = await failure();
    expect(code).toBe('HUB_ANSWER');
    expect(message).toContain(`is not the file of ${WEIGHTS.length} bytes that was announced: ${what}`);
  });

  test('on a body that ends too early every time', async () => {
    answer({}, WEIGHTS.subarray(0, 10));
    // The first ten bytes come again and again: no progress.
    expect(await failure()).toMatchObject({ code: 'HUB_UNREACHABLE' });
    expect(ranges()).toHaveLength(IMPATIENT.retries + 1);
  });

  test.each([
    ['another commit', { 'x-repo-commit': commitOf('other') }, 'it is about another commit'],
    ['another size', { 'x-linked-size': '7', etag: `"${'a'.repeat(40)}"` }, 'it is of 7 bytes, listed as'],
    ['no ETag', {}, 'it has no usable ETag'],
    ['an ETag that is a path', { etag: '"../../../evil"' }, 'it has no usable ETag'],
  ])('on a file of %s', async (_, headers, what) => {
    at.hub.intercept = ({ method }, response) => {
      if (method !== 'HEAD') return false;
      response.writeHead(200, headers).end();
      return true;
    };
    expect(await failure()).toMatchObject({ code: 'HUB_ANSWER', message: expect.stringContaining(what) });
  });

  test('on answers that are none of a hub', async () => {
    at.hub.intercept = (_, response) => {
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<html>Please log in to the wireless network</html>');
      return true;
    };
    expect((await failure()).message).toMatch(/cannot be used: it is not JSON$/);
    at.hub.intercept = (_, response) => {
      response.writeHead(200).end('{"sha": "../../etc"}');
      return true;
    };
    expect((await failure()).message).toMatch(/cannot be used: it names no commit$/);
  });

  test('on a disk without room, before the first byte', async () => {
    const size = 2 ** 52;
    at.hub.intercept = ({ path }, response) => {
      if (!path.includes('/tree/')) return false;
      const files = ['config.json', 'model.safetensors'].map(name => {
        const data = MODELS['acme/clip'][name];
        const listed = name === 'config.json' ? data.length : size;
        return { type: 'file', path: name, size: listed, oid: '0'.repeat(40) };
      });
      response.writeHead(200).end(JSON.stringify(files));
      return true;
    };
    expect(await failure()).toMatchObject({
      code: 'WRITE',
      message: expect.stringMatching(/^acme\/clip needs 4,503,599,628 MB, and the disk of .* has [\d,]+ MB left$/),
      hint: expect.stringContaining('HF_HOME'),
    });
    expect(ranges()).toEqual([]);
  });
});

describe('redirects', () => {
  test('the token goes to the hub and to nobody else', async () => {
    await get({ env: { ...at.env, HF_TOKEN: at.hub.token } });
    for (const { origin, headers } of at.hub.requests) {
      expect(headers.authorization).toBe(origin === 'hub' ? `Bearer ${at.hub.token}` : undefined);
    }
    expect(at.hub.requests.some(({ origin }) => origin === 'cdn')).toBe(true);
  });

  test('a renamed repository is followed', async () => {
    at.hub.repos.set('old/name', { files: {}, commit: '', movedTo: 'acme/clip' });
    const { folder } = await resolveModel('old/name', { env: at.env, patience: IMPATIENT });
    expect(WEIGHTS.equals(await readFile(join(folder, 'model.safetensors')))).toBe(true);
  });

  test.each([
    ['to itself', (path: string) => path],
    ['to an address that is none', () => 'http://['],
    ['to a file', () => 'file:///etc/passwd'],
  ])('%s end in one line', async (_, to) => {
    at.hub.intercept = ({ path }, response) => {
      response.writeHead(302, { location: to(path) }).end();
      return true;
    };
    expect(await failure()).toMatchObject({ code: 'HUB_ANSWER', message: expect.stringMatching(/redirects/) });
    expect(at.hub.requests.length).toBeLessThanOrEqual(11);
  });
});

describe('together', () => {
  test('calls for the same model download it once', async () => {
    at.hub.sending = () => ({ pauseMs: 20 });
    const places = await Promise.all([get(), get(), get()]);
    for (const place of places) await expectWhole(place);
    expect(ranges()).toHaveLength(1);
  });

  test('a call that is stopped keeps what it has, and says that it was stopped', async () => {
    const stop = new AbortController();
    at.hub.sending = () => ({ stallAfter: 100_000 });
    const stopped = get({
      signal: stop.signal,
      onProgress: ({ done }) => done >= 100_000 && stop.abort(new Error('enough')),
    });
    await expect(stopped).rejects.toThrow('enough');
    expect((await stat(part())).size).toBe(100_000);
    expect(await readdir(join(at.home, 'hub', '.locks', 'models--acme--clip'))).toEqual([]);
    at.hub.sending = () => ({});
    await expectWhole(await get());
    expect(ranges()).toEqual([undefined, 'bytes=100000-']);
  });

  const script = `
    import { resolveModel } from '${new URL('../../dist/src/hub/index.js', import.meta.url).href}';
    const { folder } = await resolveModel('acme/clip', { onProgress: ({ done }) => console.log(done) });
    console.log(folder);`;

  function downloader(watch?: (child: ChildProcess, done: number) => void): Promise<number | null> {
    const { PATH } = process.env;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env: { PATH, ...at.env } });
    // Several lines may come as one.
    child.stdout.on('data', (text: Buffer) =>
      watch?.(child, Math.max(...text.toString().trim().split('\n').map(Number))),
    );
    return new Promise(resolve => child.on('close', code => resolve(code)));
  }

  test('a process that is killed leaves a part that the next one goes on with', async () => {
    at.hub.sending = () => ({ stallAfter: 100_000 });
    const code = await downloader((child, done) => done >= 100_000 && child.kill('SIGKILL'));
    expect(code).toBe(null);
    expect((await stat(part())).size).toBe(100_000);
    at.hub.sending = () => ({});
    expect(await downloader()).toBe(0);
    expect(ranges()).toEqual([undefined, 'bytes=100000-']);
    expect(WEIGHTS.equals(await readFile(blobs(sha256(WEIGHTS))))).toBe(true);
  });

  test('two processes download a model once', async () => {
    at.hub.sending = () => ({ pauseMs: 100 });
    expect(await Promise.all([downloader(), downloader()])).toEqual([0, 0]);
    expect(ranges()).toEqual([undefined]);
    expect(WEIGHTS.equals(await readFile(blobs(sha256(WEIGHTS))))).toBe(true);
  });
});

test.skipIf(process.platform === 'win32')('a disk that fills up is one line, and what came is kept', async () => {
  const main = fileURLToPath(new URL('../../dist/src/hub/index.js', import.meta.url));
  const script = `
    import { resolveModel } from '${main}';
    await resolveModel('acme/clip').catch(error => { console.log(error.code, error.message); });`;
  const { PATH } = process.env;
  // A write beyond the limit of 100 KiB fails as one on a full disk does.
  const limited = ['-c', 'ulimit -f 100; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script];
  const child = spawn('bash', limited, { env: { PATH, ...at.env } });
  let out = '';
  child.stdout.on('data', (text: Buffer) => {
    out += text.toString();
  });
  await new Promise(resolve => child.on('close', resolve));
  expect(out).toMatch(/^WRITE cannot write .*: the file would be larger than the allowed file size\n$/);
  expect((await stat(part())).size).toBe(100 << 10);
  await expectWhole(await get());
  expect(ranges().at(-1)).toBe('bytes=102400-');
});
