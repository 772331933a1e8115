import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { readJson } from '../../io/json.ts';
import { createSiglipTokenizer } from './siglip.ts';
import { spieceJson } from './spiece.ts';
import type { ClipTokenizer } from './tokenizer.ts';

const folder = new URL('../../../test/goldens/clip/', import.meta.url).pathname;

interface Golden {
  texts: string[];
  ids: number[][];
  padded: number[][];
}

const sources: Record<string, () => Promise<unknown>> = {
  'siglip/spiece.model': async () => spieceJson(await readFile(`${folder}siglip/spiece.model`)),
  'siglip/converted-tokenizer.json': () => readJson(`${folder}siglip/converted-tokenizer.json`),
  'siglip2/tokenizer.json': () => readJson(`${folder}siglip2/tokenizer.json`),
};

describe.each(Object.entries(sources))('%s', (name, json) => {
  test('token ids are those of transformers, whole, padded and cut', async () => {
    const model = name.split('/')[0];
    const tokenizer = createSiglipTokenizer(await json(), await readJson(`${folder}${model}/tokenizer_config.json`));
    const golden = (await readJson(`${folder}${model}/tokens.json`)) as Golden;
    expect(golden.texts.length).toBeGreaterThan(200);
    const { ids, ends } = tokenizer.encode(golden.texts, 12);
    golden.texts.forEach((text, row) => {
      expect.soft(idsOf(tokenizer, text, golden.ids[row].length), JSON.stringify(text)).toEqual(golden.ids[row]);
    });
    golden.padded.forEach((row, i) => expect([...ids.subarray(i * 12, i * 12 + 12)], golden.texts[i]).toEqual(row));
    expect(ends[0]).toBe(golden.ids[0].length - 1);
    const { text_config } = (await readJson(`${folder}${model}/config.json`)) as {
      text_config: { vocab_size: number };
    };
    expect(tokenizer.vocabularySize).toBe(text_config.vocab_size);
  });
});

function idsOf(tokenizer: ClipTokenizer, text: string, length: number): number[] {
  return [...tokenizer.encode([text], length).ids];
}
