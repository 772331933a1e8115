import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type ChatServer, chatServer, goodAnswer, type Handler, say, sendJson } from '../../test/chat-server.ts';
import { sampleRequest, textModelCases } from '../../test/text-model.cases.ts';
import { messageOf } from '../errors.ts';
import { createBudget } from './budget.ts';
import { endpoint } from './endpoint.ts';
import { type OpenAiCompatibleOptions, openAiCompatible } from './openai-compatible.ts';
import { retryAfter, waitBefore } from './retry.ts';
import type { TextModelError } from './text-model.ts';

const key = 'sk-secret-0123456789';
const quick = { model: 'tiny', timeoutMs: 2000, retries: 2, backoffMs: 10, maxWaitMs: 1500, environment: {} };

describe('openAiCompatible', () => {
  let server: ChatServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });
  const open = async (handler: Handler, options: Partial<OpenAiCompatibleOptions> = {}) => {
    server = await chatServer(handler);
    return { server, model: openAiCompatible({ ...quick, baseUrl: server.baseUrl, key, ...options }) };
  };
  const failure = async (asking: Promise<unknown>): Promise<TextModelError> =>
    asking.then(
      () => expect.fail('it did not fail'),
      (error: TextModelError) => {
        expect(messageOf(error)).toBe(error.message);
        expect(error.message).not.toContain(key);
        return error;
      },
    );

  it('sends messages, temperature and seed with the key to the place named, and nothing of this machine', async () => {
    const { server, model } = await open((response, request) => say(response, goodAnswer(request)));
    await model.complete(sampleRequest);
    const [{ url, headers, body }] = server.received;
    expect(url).toBe('/v1/chat/completions');
    expect(headers.authorization).toBe(`Bearer ${key}`);
    expect(body).toMatchObject({ model: 'tiny', temperature: 0.7, seed: 3, messages: sampleRequest.messages });
    expect(Object.keys(headers).filter(name => name.startsWith('x-stainless'))).toEqual([]);
    expect(model.id).toBe(`openai:tiny@${server.baseUrl}`);
  });

  it('holds the model to a schema where there is one', async () => {
    const { server, model } = await open((response, request) => say(response, goodAnswer(request)));
    const schema = { type: 'object' };
    await model.complete({ ...sampleRequest, schema });
    expect(server.received[0].body.response_format).toMatchObject({ type: 'json_schema', json_schema: { schema } });
  });

  describe('the key', () => {
    const asked = async (environment: Record<string, string>, given: Partial<OpenAiCompatibleOptions> = {}) => {
      server = await chatServer((response, request) => say(response, goodAnswer(request)));
      const filled = Object.fromEntries(
        Object.entries(environment).map(([k, v]) => [k, v.replace('HERE', server!.baseUrl)]),
      );
      const baseUrl = environment.OPENAI_BASE_URL ? undefined : server.baseUrl;
      await openAiCompatible({ ...quick, baseUrl, environment: filled, ...given }).complete(sampleRequest);
      return server.received[0].headers.authorization;
    };
    it('is left out for a server that needs none', async () => expect(await asked({})).toBeUndefined());
    it('comes from S3A_LLM_KEY', async () => expect(await asked({ S3A_LLM_KEY: ' k1\n' })).toBe('Bearer k1'));
    it('comes from OPENAI_API_KEY with OPENAI_BASE_URL', async () =>
      expect(await asked({ OPENAI_API_KEY: 'k2', OPENAI_BASE_URL: 'HERE/' })).toBe('Bearer k2'));
    it('of OpenAI is not sent to another place', async () =>
      expect(await asked({ OPENAI_API_KEY: 'k3' })).toBeUndefined());
    it('of the process is not found by the client on its own', async () => {
      vi.stubEnv('OPENAI_API_KEY', 'k4');
      vi.stubEnv('OPENAI_ADMIN_KEY', 'k5');
      expect(await asked({})).toBeUndefined();
      vi.unstubAllEnvs();
    });
    it('with a line break inside is refused before it is sent', () =>
      expect(() => openAiCompatible({ ...quick, key: 'a\nb' })).toThrow(
        expect.objectContaining({ code: 'LLM_CONFIG' }),
      ));
  });

  it.each(['nonsense', 'ftp://x/v1', 'http://user:pw@x/v1', 'http://x/v1?key=abc', ' '])(
    'refuses the base URL %j',
    baseUrl => {
      let thrown: unknown;
      try {
        openAiCompatible({ ...quick, baseUrl });
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ code: 'LLM_CONFIG' });
      expect(messageOf(thrown)).not.toMatch(/pw|abc/);
    },
  );

  it.each([
    ['ollama', 'http://127.0.0.1:11434/v1'],
    ['vllm', 'http://127.0.0.1:8000/v1'],
    ['llama.cpp', 'http://127.0.0.1:8080/v1'],
    ['lmstudio', 'http://127.0.0.1:1234/v1'],
    ['openai', 'https://api.openai.com/v1'],
  ])('knows where %s is', (baseUrl, address) => {
    expect(openAiCompatible({ ...quick, baseUrl }).id).toBe(`openai:tiny@${address}`);
    expect(openAiCompatible({ ...quick, environment: { S3A_LLM_BASE_URL: baseUrl } }).id).toContain(address);
  });

  it('sends the key of OpenAI to OpenAI by its name too, and to no other', () => {
    const { own, key } = endpoint({ baseUrl: 'openai', environment: { OPENAI_API_KEY: 'k' } });
    expect([own, key]).toEqual([true, 'k']);
    expect(endpoint({ baseUrl: 'ollama', environment: { OPENAI_API_KEY: 'k' } }).key).toBeUndefined();
  });

  it('waits as long as Retry-After says', async () => {
    const { server, model } = await open((response, request, n) =>
      n === 0
        ? sendJson(response, 429, { error: { message: 'slow down' } }, { 'retry-after': '1' })
        : say(response, goodAnswer(request)),
    );
    await model.complete(sampleRequest);
    expect(server.received[1].at - server.received[0].at).toBeGreaterThanOrEqual(990);
  });

  it('does not wait for a server that asks for hours', async () => {
    const { server, model } = await open(response => sendJson(response, 429, {}, { 'retry-after': '7200' }));
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_RATE',
      scope: 'request',
      retryable: true,
    });
    expect(server.received).toHaveLength(1);
  });

  it('reads Retry-After as seconds, as a date and as milliseconds', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    const of = (name: string, value: string) => retryAfter(new Headers({ [name]: value }), now);
    expect(of('retry-after', '2.5')).toBe(2500);
    expect(of('retry-after', 'Thu, 01 Jan 2026 00:00:10 GMT')).toBe(10_000);
    expect(of('retry-after', 'Thu, 01 Jan 2015 00:00:10 GMT')).toBe(0);
    expect(of('retry-after-ms', '30')).toBe(30);
    expect(of('retry-after', 'soon')).toBeUndefined();
    expect(retryAfter(undefined, now)).toBeUndefined();
  });

  it('waits twice as long each time, up to a limit, unless the server says how long', () => {
    const options = { retries: 9, backoffMs: 1000, maxWaitMs: 6000 };
    for (const [attempt, most] of [1000, 2000, 4000, 6000, 6000].entries()) {
      const wait = waitBefore(attempt, undefined, 7, options);
      expect(wait).toBeGreaterThanOrEqual(most / 2);
      expect(wait).toBeLessThan(most);
    }
    expect(waitBefore(0, 6000, 7, options)).toBe(6000);
    expect(waitBefore(0, 6001, 7, options)).toBeUndefined();
    expect(waitBefore(9, 0, 7, options)).toBeUndefined();
  });

  it.each([500, 502, 503, 408])('asks again after %d', async status => {
    const { server, model } = await open((response, request, n) =>
      n < 2 ? sendJson(response, status, { error: { message: 'oops' } }) : say(response, goodAnswer(request)),
    );
    expect((await model.complete(sampleRequest)).text).toContain('apple: ');
    expect(server.received).toHaveLength(3);
  });

  it('gives up after its retries', async () => {
    const { server, model } = await open(response => void response.writeHead(500).end('<h1>Internal\nerror</h1>'));
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_SERVER',
      scope: 'request',
      retryable: true,
    });
    expect(server.received).toHaveLength(3);
  });

  it('asks again after a connection that was reset', async () => {
    const { server, model } = await open((response, request, n) => {
      if (n === 0) response.socket?.resetAndDestroy();
      else say(response, goodAnswer(request));
    });
    await model.complete(sampleRequest);
    expect(server.received).toHaveLength(2);
  });

  it('asks again after an answer that broke off', async () => {
    const { server, model } = await open((response, request, n) => {
      if (n > 0) return say(response, goodAnswer(request));
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"choices":', () => response.destroy());
    });
    await model.complete(sampleRequest);
    expect(server.received).toHaveLength(2);
  });

  it.each([
    ['before the first byte', false],
    ['in the middle of the answer', true],
  ])('stops a server that is too slow %s', async (_, begin) => {
    const { server, model } = await open(
      response => {
        if (begin) response.writeHead(200, { 'content-type': 'application/json' }).write('{"choices":');
      },
      { timeoutMs: 80, retries: 1 },
    );
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_TIMEOUT',
      scope: 'request',
      retryable: true,
    });
    expect(server.received).toHaveLength(2);
  });

  it.each([401, 403])('says in one line that the key is wrong after %d, without the key', async status => {
    const { server, model } = await open(response =>
      sendJson(response, status, { error: { message: `Incorrect API key provided: ${key}.\nSee the docs.` } }),
    );
    const error = await failure(model.complete(sampleRequest));
    expect(error).toMatchObject({ code: 'LLM_AUTH', scope: 'model', retryable: false });
    expect(error.message).toMatch(/refused the key: 40\d Incorrect API key provided: ….*See the docs/);
    expect(error.hint).toContain('S3A_LLM_KEY');
    expect(server.received).toHaveLength(1);
  });

  it('never prints the key, whatever the client is told to log', async () => {
    vi.stubEnv('OPENAI_LOG', 'debug');
    const printed: unknown[] = [];
    const spies = (['debug', 'info', 'log', 'warn', 'error'] as const).map(name =>
      vi.spyOn(console, name).mockImplementation((...of) => void printed.push(of)),
    );
    const { model } = await open((response, request) => say(response, goodAnswer(request)));
    await model.complete(sampleRequest);
    for (const spy of spies) spy.mockRestore();
    vi.unstubAllEnvs();
    expect(printed).toEqual([]);
    expect(JSON.stringify(model)).not.toContain(key);
  });

  it('says how to get a model that the server lacks', async () => {
    const { model } = await open(response => sendJson(response, 404, { error: { message: 'model "tiny" not found' } }));
    const error = await failure(model.complete(sampleRequest));
    expect(error).toMatchObject({ code: 'LLM_NO_MODEL', scope: 'model' });
    expect(error.hint).toContain('ollama pull tiny');
  });

  it('does not ask again when the account is empty', async () => {
    const { server, model } = await open(response =>
      sendJson(response, 429, { error: { message: 'You exceeded your quota', code: 'insufficient_quota' } }),
    );
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_QUOTA',
      scope: 'model',
      retryable: false,
    });
    expect(server.received).toHaveLength(1);
  });

  it('says at once that nothing listens', async () => {
    const free = createServer();
    const port = await new Promise<number>(resolve =>
      free.listen(0, '127.0.0.1', () => resolve((free.address() as { port: number }).port)),
    );
    await new Promise(resolve => free.close(resolve));
    const model = openAiCompatible({
      ...quick,
      backoffMs: 60_000,
      maxWaitMs: 60_000,
      baseUrl: `http://127.0.0.1:${port}/v1`,
    });
    const error = await failure(model.complete(sampleRequest));
    expect(error).toMatchObject({ code: 'LLM_UNREACHABLE', scope: 'model' });
    expect(error.message).toContain(`127.0.0.1:${port}`);
  });

  it('stops reading a 100 MB answer at its limit', async () => {
    let written = 0;
    const block = Buffer.alloc(1 << 16, 'a');
    const { server, model } = await open(response => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{"choices":[{"message":{"content":"');
      const more = () => {
        while (written < 100e6 && !response.destroyed) {
          written += block.length;
          if (!response.write(block)) {
            response.once('drain', more);
            return;
          }
        }
        response.end('"}}]}');
      };
      more();
    });
    expect(await failure(model.complete(sampleRequest))).toMatchObject({ code: 'LLM_TOO_LONG', scope: 'answer' });
    expect(server.received).toHaveLength(1);
    expect(written).toBeLessThan(20e6);
  });

  it.each([
    [
      'HTML',
      (response: Parameters<Handler>[0]) =>
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Log in</html>'),
    ],
    [
      'an empty body',
      (response: Parameters<Handler>[0]) => response.writeHead(200, { 'content-type': 'application/json' }).end(),
    ],
    [
      'broken JSON',
      (response: Parameters<Handler>[0]) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"a'),
    ],
    ['other JSON', (response: Parameters<Handler>[0]) => sendJson(response, 200, { ok: true })],
    ['JSON null', (response: Parameters<Handler>[0]) => sendJson(response, 200, null)],
    ['no choices', (response: Parameters<Handler>[0]) => sendJson(response, 200, { choices: [] })],
    ['content that is no text', (response: Parameters<Handler>[0]) => say(response, { a: 1 })],
  ])('tells %s from an answer', async (_, handler) => {
    const { server, model } = await open(response => void handler(response));
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_ANSWER',
      scope: 'answer',
      retryable: true,
    });
    expect(server.received).toHaveLength(1);
  });

  it('takes null content, of a model that only thought, as an empty answer', async () => {
    const { model } = await open(response => say(response, null));
    expect(await model.complete(sampleRequest)).toEqual({ text: '' });
  });

  it('leaves out what the server does not know, and remembers it', async () => {
    const { server, model } = await open((response, request) => {
      const wrong = ['temperature', 'max_tokens', 'seed'].find(name => name in request.body);
      if (!wrong) return say(response, goodAnswer(request));
      sendJson(response, 400, { error: { message: `Unsupported parameter: '${wrong}'`, param: wrong } });
    });
    await model.complete(sampleRequest);
    expect(server.received).toHaveLength(4);
    expect(server.received[3].body.max_completion_tokens).toBe(4096);
    await model.complete(sampleRequest);
    expect(server.received).toHaveLength(5);
  });

  it('does not follow a server that sends on to another place', async () => {
    const other = await chatServer((response, request) => say(response, goodAnswer(request)));
    const { model } = await open(response => {
      response.writeHead(307, { location: `${other.baseUrl}/chat/completions` }).end();
    });
    const error = await failure(model.complete(sampleRequest));
    expect(error).toMatchObject({ code: 'LLM_REDIRECT', scope: 'model' });
    expect(error.message).toContain(other.baseUrl);
    expect(other.received).toEqual([]);
    await other.close();
  });

  it('does not repeat a request that was refused for what it says', async () => {
    const { server, model } = await open(response => sendJson(response, 400, { error: { message: 'content policy' } }));
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_REFUSED',
      scope: 'request',
      retryable: false,
    });
    expect(server.received).toHaveLength(1);
  });

  it('counts every attempt against the budget', async () => {
    const { server, model } = await open(
      (response, request, n) => (n === 0 ? sendJson(response, 500, {}) : say(response, goodAnswer(request))),
      { budget: createBudget(2) },
    );
    await model.complete(sampleRequest);
    expect(await failure(model.complete(sampleRequest))).toMatchObject({
      code: 'LLM_BUDGET',
      scope: 'model',
      retryable: false,
    });
    expect(server.received).toHaveLength(2);
  });

  it.each([
    ['while the server thinks', () => {}],
    [
      'while it waits to ask again',
      (response: Parameters<Handler>[0]) => sendJson(response, 429, {}, { 'retry-after': '1' }),
    ],
  ])('stops when it is aborted %s', async (_, handler) => {
    const { model } = await open(handler);
    const controller = new AbortController();
    const started = Date.now();
    setTimeout(() => controller.abort(new Error('enough')), 60);
    await expect(model.complete(sampleRequest, controller.signal)).rejects.toThrow('enough');
    expect(Date.now() - started).toBeLessThan(900);
  });

  it('aborts what is under way when it is disposed', async () => {
    const { model } = await open(() => {});
    const asking = failure(model.complete(sampleRequest));
    setTimeout(() => void model.dispose?.(), 30);
    expect(await asking).toMatchObject({ code: 'LLM_DISPOSED' });
    expect(await failure(model.complete(sampleRequest))).toMatchObject({ code: 'LLM_DISPOSED' });
  });
});

describe('a local server', () => {
  let server: ChatServer;
  beforeAll(async () => {
    server = await chatServer((response, request) => say(response, goodAnswer(request)));
  });
  afterAll(() => server.close());
  textModelCases('openAiCompatible', async () => openAiCompatible({ ...quick, baseUrl: server.baseUrl, key }), {
    secret: key,
  });
});
