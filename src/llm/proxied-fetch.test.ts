import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChatServer, chatServer, goodAnswer, say } from '../../test/chat-server.ts';
import { sampleRequest } from '../../test/text-model.cases.ts';
import { openAiCompatible } from './openai-compatible.ts';

/** A proxy that remembers what it was asked for; it knows one host, `llm.example`, and opens no tunnels. */
async function proxyTo(target: string) {
  const asked: { line: string; authorization?: string }[] = [];
  const server: Server = createServer((incoming, response) => {
    asked.push({
      line: `${incoming.method} ${incoming.url}`,
      authorization: incoming.headers['proxy-authorization'],
    });
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    const forward = async (): Promise<void> => {
      const { pathname } = new URL(incoming.url ?? '');
      const { authorization, 'content-type': type = '' } = incoming.headers;
      const answer = await fetch(`${target}${pathname}`, {
        method: incoming.method,
        headers: { 'content-type': type, ...(authorization ? { authorization } : {}) },
        body: Buffer.concat(parts),
      });
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
    };
    incoming.on('end', () => void forward());
  });
  server.on('connect', (incoming, socket) => {
    asked.push({ line: `CONNECT ${incoming.url}`, authorization: incoming.headers['proxy-authorization'] });
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { asked, address: `127.0.0.1:${port}`, close: () => server.close() };
}

describe('a proxy', () => {
  let server: ChatServer;
  let proxy: Awaited<ReturnType<typeof proxyTo>>;
  beforeEach(async () => {
    server = await chatServer((response, request) => say(response, goodAnswer(request)));
    proxy = await proxyTo(new URL(server.baseUrl).origin);
  });
  afterEach(async () => {
    proxy.close();
    await server.close();
  });
  const ask = (baseUrl: string, environment: Record<string, string>) =>
    openAiCompatible({ model: 'tiny', baseUrl, key: 'k', retries: 0, environment }).complete(sampleRequest);

  it.each([
    ['HTTP_PROXY', 'http://'],
    ['http_proxy', ''],
    ['ALL_PROXY', 'http://'],
  ])('named by %s is asked for servers over http', async (variable, scheme) => {
    const { text } = await ask('http://llm.example/v1', { [variable]: `${scheme}${proxy.address}` });
    expect(text).toContain('apple: ');
    expect(proxy.asked).toEqual([{ line: 'POST http://llm.example/v1/chat/completions', authorization: undefined }]);
    expect(server.received[0].body.messages).toEqual(sampleRequest.messages);
    expect(server.received[0].headers.authorization).toBe('Bearer k');
  });

  it('gets its own name and password', async () => {
    await ask('http://llm.example/v1', { HTTP_PROXY: `http://me:p%40ss@${proxy.address}` });
    expect(proxy.asked[0].authorization).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  });

  it('sees of a request over https the host and nothing else', async () => {
    await expect(ask('https://llm.example/v1', { HTTPS_PROXY: `http://${proxy.address}` })).rejects.toMatchObject({
      code: 'LLM_UNREACHABLE',
      scope: 'model',
      message: expect.stringContaining(`the proxy ${proxy.address} answers 403 to CONNECT`),
    });
    expect(proxy.asked).toEqual([{ line: 'CONNECT llm.example:443', authorization: undefined }]);
  });

  it('is not asked for this machine, nor for a host of NO_PROXY', async () => {
    await ask(server.baseUrl, { HTTP_PROXY: `http://${proxy.address}` });
    const excepted = ask('http://llm.invalid/v1', { HTTP_PROXY: `http://${proxy.address}`, NO_PROXY: '.invalid' });
    await expect(excepted).rejects.toMatchObject({ code: 'LLM_UNREACHABLE' });
    expect(proxy.asked).toEqual([]);
  });

  it('that does not answer is named at once, without its password', async () => {
    proxy.close();
    const asking = ask('http://llm.example/v1', { HTTP_PROXY: 'http://me:secret@127.0.0.1:9' });
    await expect(asking).rejects.toMatchObject({
      code: 'LLM_UNREACHABLE',
      message: expect.stringMatching(/^(?!.*secret).*the proxy 127\.0\.0\.1:9 cannot be used/),
    });
  });

  it('that is none is refused before anything is sent', async () => {
    const asking = ask('http://llm.example/v1', { HTTP_PROXY: 'socks5://127.0.0.1:1080' });
    await expect(asking).rejects.toMatchObject({
      code: 'LLM_CONFIG',
      retryable: false,
      message: expect.stringContaining('HTTP_PROXY'),
    });
    expect(server.received).toEqual([]);
  });
});
