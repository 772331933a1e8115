/** Language models that answer with anything: what reaches a run is clean phrases, within limits, under the names that were asked. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Candidate, promptCluster } from '../src/discover/prompt.ts';
import { openAiCompatible } from '../src/llm/openai-compatible.ts';
import { type ChatServer, chatServer, goodAnswer, type Received, say } from './chat-server.ts';

const candidates: Candidate[] = ['crane', 'flamingo', 'constructor'].map(name => ({ name, meanings: [] }));
const names = candidates.map(({ name }) => name);

let server: ChatServer;
let answer: (request: Received) => unknown;
beforeAll(async () => {
  server = await chatServer((response, request) => say(response, answer(request)));
});
afterAll(() => server.close());

const ask = (maxAsks = 2) => {
  const model = openAiCompatible({ model: 'tiny', baseUrl: server.baseUrl, environment: {} });
  return promptCluster(candidates, model, { repeats: 1, maxAsks });
};
const phrasesFor = async (given: Record<string, unknown>): Promise<string[]> => {
  answer = () => JSON.stringify({ flamingo: ['pink feathers'], constructor: ['hard hat'], ...given });
  const found = await ask();
  return found.candidates[0].phrases.map(({ phrase }) => phrase);
};

it.each([
  ['markup', ['<img src=x onerror=alert(1)>', '<b>bold</b> neck', 'long neck'], ['long neck']],
  ['links', ['see https://evil.example/a', '[neck](http://evil.example)', 'www.evil.example', 'neck'], ['neck']],
  [
    'control characters',
    ['grey\u0000 \u001b[31mfeathers', 'long\u0007 legs', 'red\r\ncrown'],
    ['long legs', 'red crown'],
  ],
  ['direction and invisible characters', ['\u202egnol', 'be\u200bak', '\ud800grey'], ['gnol', 'be ak', 'grey']],
  ['texts far too long', ['x'.repeat(10_000), 'word '.repeat(50), 'beak'], ['beak']],
  ['placeholders', ['{name} legs', '$' + '{process.env.HOME}', '{{7*7}}', 'legs'], ['legs']],
  ['what is no text', [1, null, true, { a: 'b' }, ['c'], 'wing'], ['wing']],
  ['names', ['crane', 'The Cranes', 'a flamingo', 'pink like a flamingo', 'tall'], ['tall']],
  [
    'far too many',
    Array.from({ length: 3000 }, (_, i) => `colour ${i}`),
    Array.from({ length: 12 }, (_, i) => `colour ${i}`),
  ],
])('keeps none of %s', async (_, given, kept) => {
  expect(await phrasesFor({ crane: given })).toEqual(kept);
});

it.each([
  ['another name for one', { craine: ['neck'], flamingo: ['pink'], constructor: ['hat'] }],
  ['a name besides', { crane: ['neck'], flamingo: ['pink'], constructor: ['hat'], heron: ['beak'] }],
  ['a name of the language', { crane: ['neck'], flamingo: ['pink'], toString: ['hat'] }],
  ['a wrapper', { answer: { crane: ['neck'], flamingo: ['pink'], constructor: ['hat'] } }],
  ['nothing in it', {}],
])('asks again after an answer with %s', async (_, given) => {
  let asked = 0;
  answer = request => (asked++ === 0 ? JSON.stringify(given) : goodAnswer(request));
  const found = await ask();
  expect(asked).toBe(2);
  expect(found.problems.length).toBeGreaterThan(0);
  expect(found.candidates.map(({ phrases }) => phrases.length)).toEqual([2, 2, 2]);
});

it('keeps to names, limits and clean phrases whatever is answered', async () => {
  const line = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.constantFrom(
      ...names.map(name => `${name}: `),
      '{"crane":',
      '["a"]}',
      '</think>',
      '```json\n',
      '- ',
      ': ',
      '; ',
      '\n',
    ),
  );
  const text = fc.oneof(
    fc.array(line, { maxLength: 40 }).map(parts => parts.join('')),
    fc.json(),
    fc
      .dictionary(fc.constantFrom(...names, 'x'), fc.array(fc.string({ unit: 'binary' })))
      .map(of => JSON.stringify(of)),
  );
  await fc.assert(
    fc.asyncProperty(text, async content => {
      answer = () => content;
      const found = await ask();
      expect(found.failure).toBeUndefined();
      expect(found.requests).toBeLessThanOrEqual(4);
      expect(found.candidates.map(({ name }) => name)).toEqual(names);
      for (const [i, { phrases }] of found.candidates.entries()) {
        expect(phrases.length).toBeLessThanOrEqual(12);
        for (const { phrase } of phrases) {
          expect(phrase).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}<>{}[\]\\;]|:\/\/|^\s|\s$/u);
          expect(Array.from(phrase).length).toBeLessThanOrEqual(60);
          for (const other of names.filter((_, j) => j !== i)) expect(phrase.split(/\W/)).not.toContain(other);
        }
      }
    }),
    { seed: 7, numRuns: 150 },
  );
}, 120_000);
