import { describe, expect, it } from 'vitest';
import { chatServer, goodAnswer, say, sendJson } from '../../test/chat-server.ts';
import { sampleRequest } from '../../test/text-model.cases.ts';
import { openAiCompatible } from './openai-compatible.ts';
import { createPace, limitReset } from './rate-limit.ts';

const now = Date.parse('2026-01-01T00:00:00Z');
const reset = (headers: Record<string, string>) => limitReset(new Headers(headers), now);

describe('limitReset', () => {
  it.each([
    ['1s', 1000],
    ['6m0s', 360_000],
    ['20ms', 20],
    ['1h2m3.5s', 3_723_500],
    ['12.5', 12_500],
    ['1767225610', 10_000],
    ['1767225610000', 10_000],
    ['2026-01-01T00:00:10Z', 10_000],
    ['Thu, 01 Jan 2015 00:00:00 GMT', 0],
  ])('reads %s', (text, wait) => {
    expect(reset({ 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': text })).toBe(wait);
    expect(reset({ 'ratelimit-remaining': '0', 'ratelimit-reset': text })).toBe(wait);
  });

  it('takes the longest of the limits that are used up, and no other', () => {
    expect(
      reset({
        'x-ratelimit-remaining-requests': '0',
        'x-ratelimit-reset-requests': '2s',
        'x-ratelimit-remaining-tokens': '0',
        'x-ratelimit-reset-tokens': '5s',
      }),
    ).toBe(5000);
    expect(reset({ 'x-ratelimit-remaining-requests': '7', 'x-ratelimit-reset-requests': '2s' })).toBeUndefined();
    for (const text of ['', 'soon', '5 apples', '1s'.repeat(100)]) {
      expect(reset({ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': text })).toBeUndefined();
    }
    expect(limitReset(undefined, now)).toBeUndefined();
  });
});

describe('a pace', () => {
  it('lets requests through when the last hold has passed', async () => {
    let time = 0;
    const pace = createPace(() => time);
    const { signal } = new AbortController();
    await pace.ready(signal);
    pace.hold(20);
    pace.hold(5);
    let through = false;
    const waiting = pace.ready(signal).then(() => {
      through = true;
    });
    await new Promise(resolve => setTimeout(resolve, 30));
    expect(through).toBe(false);
    time = 20;
    await waiting;
  });

  it('stops waiting with the reason of the signal', async () => {
    const pace = createPace();
    pace.hold(60_000);
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 10);
    await expect(pace.ready(controller.signal)).rejects.toThrow('enough');
  });

  it('keeps all requests of a model back that was asked too often', async () => {
    const server = await chatServer((response, request, n) =>
      n === 0 ? sendJson(response, 429, {}, { 'retry-after': '1' }) : say(response, goodAnswer(request)),
    );
    const model = openAiCompatible({ model: 'tiny', baseUrl: server.baseUrl, environment: {} });
    const first = model.complete(sampleRequest);
    while (server.received.length === 0) await new Promise(resolve => setTimeout(resolve, 5));
    await new Promise(resolve => setTimeout(resolve, 200));
    await Promise.all([first, model.complete({ ...sampleRequest, repeat: 1 })]);
    const [refused, ...later] = server.received.map(({ at }) => at);
    for (const at of later) expect(at - refused).toBeGreaterThanOrEqual(990);
    await server.close();
  });

  it('waits before the request that would be refused', async () => {
    const server = await chatServer((response, request) => {
      response.setHeader('x-ratelimit-remaining-requests', '0');
      response.setHeader('x-ratelimit-reset-requests', '300ms');
      say(response, goodAnswer(request));
    });
    const model = openAiCompatible({ model: 'tiny', baseUrl: server.baseUrl, environment: {} });
    await model.complete(sampleRequest);
    await model.complete({ ...sampleRequest, repeat: 1 });
    const [first, second] = server.received.map(({ at }) => at);
    expect(second - first).toBeGreaterThanOrEqual(290);
    await server.close();
  });
});
