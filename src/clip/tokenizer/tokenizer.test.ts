import { expect, test } from 'vitest';
import { readJson } from '../../io/json.ts';
import { createTokenizer } from './tokenizer.ts';

const folder = new URL('../../../test/goldens/clip/', import.meta.url).pathname;
const read = (name: string) => readJson(`${folder}gelu/${name}`);

interface Golden {
  texts: string[];
  ids: number[][];
  padded: number[][];
}

test('token ids are those of CLIPTokenizerFast, whole, padded and cut', async () => {
  const tokenizer = createTokenizer(await read('tokenizer.json'), await read('tokenizer_config.json'));
  const golden = (await readJson(`${folder}tokens.json`)) as Golden;
  const { ids, ends } = tokenizer.encode(golden.texts, 16);
  golden.texts.forEach((text, row) => {
    expect([...tokenizer.encode([text], golden.ids[row].length).ids], text).toEqual(golden.ids[row]);
    expect([...ids.subarray(row * 16, row * 16 + 16)], text).toEqual(golden.padded[row]);
    expect(ids[row * 16 + ends[row]], text).toBe(655);
  });
  expect(ends[3]).toBe(1);
  expect(ends[9]).toBe(15);
  expect(tokenizer.vocabularySize).toBe(656);
});

test('a file that is not a CLIP tokenizer is one clear line', async () => {
  expect(() => createTokenizer([], {}, 'x/tokenizer.json')).toThrow('x/tokenizer.json: not a byte-pair tokenizer');
  expect(() => createTokenizer({ model: { type: 'WordPiece' } }, {})).toThrow('not a byte-pair tokenizer');
  const json = (await read('tokenizer.json')) as object;
  expect(() => createTokenizer(json, { eos_token: '</s>' })).toThrow("the special token '</s>' is not");
});
