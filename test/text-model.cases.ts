/** What every text model must do, whatever stands behind it; each implementation's test runs these cases. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAnswer } from '../src/discover/answer.ts';
import { promptMessages } from '../src/discover/prompt-text.ts';
import type { TextModel, TextRequest } from '../src/llm/text-model.ts';

/** A request that every text model under test can answer. */
export const sampleRequest: TextRequest = {
  messages: promptMessages([
    { label: 'apple', name: 'apple', gloss: 'fruit with red or green skin', synonyms: [] },
    { label: 'pear', name: 'pear', gloss: 'sweet juicy gritty-textured fruit', synonyms: [] },
  ]),
  temperature: 0.7,
  seed: 3,
  repeat: 0,
};

/** Runs the shared cases on models made by `open`; `secret` is a text that no id may hold, `request` asks about apple and pear. */
export function textModelCases(
  name: string,
  open: () => Promise<TextModel>,
  { secret, request: asked = sampleRequest }: { secret?: string; request?: TextRequest } = {},
): void {
  describe(`${name} as a text model`, () => {
    let model: TextModel;
    beforeEach(async () => {
      model = await open();
    });
    afterEach(async () => {
      await model.dispose?.();
    });

    it('has one id that stays, is made of plain characters and holds no secret', async () => {
      const before = model.id;
      await model.complete(asked);
      expect(model.id).toBe(before);
      expect((await open()).id).toBe(before);
      expect(model.id).toMatch(/^[\x21-\x7e]+$/);
      if (secret) expect(model.id).not.toContain(secret);
    });

    it('answers with text, the same for the same request', async () => {
      const { text } = await model.complete(asked);
      expect(parseAnswer(text, ['apple', 'pear'])).toMatchObject({ missing: [], added: [] });
      expect((await model.complete(asked)).text).toBe(text);
    });

    it('serves requests side by side', async () => {
      const answers = await Promise.all(Array.from({ length: 5 }, () => model.complete(asked)));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    });

    it('leaves the request as it is', async () => {
      const request = structuredClone(asked);
      const frozen = Object.freeze({
        ...request,
        messages: Object.freeze(request.messages.map(turn => Object.freeze(turn))),
      });
      await model.complete(frozen);
      expect(frozen).toEqual(asked);
    });

    it('throws the reason of a signal that is aborted already', async () => {
      const reason = new Error('enough');
      await expect(model.complete(asked, AbortSignal.abort(reason))).rejects.toBe(reason);
    });

    it.each([
      ['no messages', { messages: [] }],
      ['blank messages', { messages: [{ role: 'user', content: ' \n' }] }],
      ['a temperature below 0', { temperature: -1 }],
      ['a temperature that is no number', { temperature: Number.NaN }],
      ['a fractional seed', { seed: 0.5 }],
      ['a negative repeat', { repeat: -1 }],
    ] as [string, Partial<TextRequest>][])('refuses %s', async (_, wrong) => {
      await expect(model.complete({ ...asked, ...wrong })).rejects.toMatchObject({
        code: 'LLM_REQUEST',
        scope: 'request',
        retryable: false,
      });
    });
  });
}
