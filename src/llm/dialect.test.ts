import { afterEach, describe, expect, it } from 'vitest';
import {
  type ChatServer,
  chatServer,
  goodAnswer,
  type Handler,
  labelsOf,
  say,
  sendJson,
} from '../../test/chat-server.ts';
import { sampleRequest } from '../../test/text-model.cases.ts';
import { openAiCompatible } from './openai-compatible.ts';
import { answerSchema, asJson } from './structured.ts';

const request = { ...sampleRequest, schema: answerSchema(['apple', 'pear']) };
const json = '{"apple":["red skin"],"pear":["green skin"]}';

let server: ChatServer;
afterEach(() => server?.close());
const open = async (handler: Handler) => {
  server = await chatServer(handler);
  return openAiCompatible({ model: 'tiny', baseUrl: server.baseUrl, retries: 1, backoffMs: 5, environment: {} });
};
const formats = () =>
  server.received.map(({ body }) => (body.response_format as { type: string } | undefined)?.type ?? 'text');
const refuse = (message: string, status = 400): Handler => {
  return response => sendJson(response, status, { error: { message } });
};

/** The handler, kept back for the first `count` requests until all of them are there. */
const together = (count: number, handler: Handler): Handler => {
  const waiting: (() => void)[] = [];
  return (response, received, n) => {
    if (n >= count) return void handler(response, received, n);
    waiting.push(() => void handler(response, received, n));
    if (waiting.length === count) for (const answer of waiting) answer();
  };
};

describe('structured output', () => {
  it('is asked for by the schema where the server honours it', async () => {
    const model = await open(response => say(response, json));
    expect(await model.complete(request)).toEqual({ text: json });
    const [{ body }] = server.received;
    expect(body.response_format).toEqual({
      type: 'json_schema',
      json_schema: { name: 'answer', schema: request.schema, strict: true },
    });
    expect(body.messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    expect(body.messages[0].content).toMatch(/one JSON object and nothing else/);
    expect(JSON.parse(body.messages[2].content)).toMatchObject({
      'crane (2)': ['grey feathers', 'red patch on the head', 'straight pointed bill', 'grassy marsh'],
    });
    expect(labelsOf(server.received[0])).toEqual(['apple', 'pear']);
  });

  // What servers without one of the formats answered, in their own words.
  it.each([
    ['DeepSeek', 'This response_format type is unavailable now', 400],
    [
      'an old vLLM',
      '[{"loc":["body","response_format","type"],"msg":"unexpected value; permitted: text, json_object"}]',
      422,
    ],
    ['llama.cpp', 'JSON schema conversion failed: Unrecognized schema', 400],
    ['a server whose grammar fails', 'failed to parse grammar', 500],
    ['a proxy', 'Bad Request', 400],
  ])('falls back to a JSON object as %s says', async (_, message, status) => {
    const model = await open((response, received, n) =>
      (received.body.response_format as { type: string }).type === 'json_schema'
        ? refuse(message, status)(response, received, n)
        : say(response, json),
    );
    await model.complete(request);
    await model.complete({ ...request, repeat: 1 });
    expect(formats()).toEqual(['json_schema', 'json_object', 'json_object']);
    expect(JSON.stringify(server.received[1].body.messages)).toContain('JSON');
  });

  it('falls back to plain text, worded as such, and remembers it', async () => {
    const model = await open((response, received, n) =>
      received.body.response_format
        ? refuse("'response_format.type' is not supported")(response, received, n)
        : say(response, goodAnswer(received)),
    );
    expect((await model.complete(request)).text).toContain('apple: ');
    await model.complete({ ...request, repeat: 1 });
    expect(formats()).toEqual(['json_schema', 'json_object', 'text', 'text']);
    expect(server.received[3].body.messages).toEqual(request.messages);
  });

  it('steps down once for requests that are refused together', async () => {
    const model = await open(
      together(4, (response, received, n) =>
        (received.body.response_format as { type: string }).type === 'json_schema'
          ? refuse('no json_schema here')(response, received, n)
          : say(response, json),
      ),
    );
    await Promise.all([0, 1, 2, 3].map(repeat => model.complete({ ...request, repeat })));
    expect(formats()).toEqual([...Array(4).fill('json_schema'), ...Array(4).fill('json_object')]);
  });

  it('is kept when a request is refused for another reason later', async () => {
    const model = await open((response, received, n) =>
      n === 0 ? say(response, json) : refuse('content policy')(response, received, n),
    );
    await model.complete(request);
    await expect(model.complete({ ...request, repeat: 1 })).rejects.toMatchObject({ code: 'LLM_REFUSED' });
    expect(formats()).toEqual(['json_schema', 'json_schema']);
  });

  it('is kept when the server fails', async () => {
    const model = await open((response, received, n) =>
      n === 0
        ? refuse('Internal error: unexpected end of JSON input', 500)(response, received, n)
        : say(response, json),
    );
    await model.complete(request);
    expect(formats()).toEqual(['json_schema', 'json_schema']);
  });

  it('leaves out a parameter for all requests that were refused for it together', async () => {
    const model = await open(
      together(3, (response, received, n) =>
        'seed' in received.body ? refuse('Unsupported parameter: seed')(response, received, n) : say(response, json),
      ),
    );
    await Promise.all([0, 1, 2].map(repeat => model.complete({ ...request, repeat })));
    expect(server.received).toHaveLength(6);
  });

  it('words requests without a system message too', () => {
    const [first, second] = asJson([
      { role: 'user', content: 'apple' },
      { role: 'assistant', content: 'apple: a: b; c' },
    ]);
    expect(first.content).toMatch(/^apple\n.*JSON/);
    expect(second.content).toBe('{"apple":["a: b","c"]}');
  });
});
