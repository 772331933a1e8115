import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { S3aError } from '../../errors.ts';
import { readJson } from '../../io/json.ts';
import { readCharsmap } from './charsmap.ts';
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
    golden.padded.forEach((row, i) => {
      expect([...ids.subarray(i * 12, i * 12 + 12)], golden.texts[i]).toEqual(row);
    });
    expect(ends[0]).toBe(golden.ids[0].length - 1);
    const { text_config } = (await readJson(`${folder}${model}/config.json`)) as {
      text_config: { vocab_size: number };
    };
    expect(tokenizer.vocabularySize).toBe(text_config.vocab_size);
  });
});

test('a damaged sentencepiece model is one clear line, or another model, and never anything else', async () => {
  const bytes = await readFile(`${folder}siglip/spiece.model`);
  const change = fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) });
  let refused = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), changes => {
      const damaged = Uint8Array.from(bytes);
      for (const { at, value } of changes) damaged[at] = value;
      try {
        const { ids } = createSiglipTokenizer(spieceJson(damaged), {}).encode(['a photo of a ﬁne café ①', 'x'], 12);
        expect(ids.length).toBe(24);
      } catch (error) {
        if (!(error instanceof S3aError)) throw error;
        expect(error.message).toMatch(/^[^\n]+$/);
        refused++;
      }
    }),
    { numRuns: 600, seed: 11 },
  );
  expect(refused).toBeGreaterThan(50);
});

test('a table of rewriting rules that is cut short or points outside itself is refused or rewrites less', () => {
  const { normalizer } = spieceJson(readFileSync(`${folder}siglip/spiece.model`)) as {
    normalizer: { normalizers: { type: string; precompiled_charsmap?: string }[] };
  };
  const table = Buffer.from(
    normalizer.normalizers.find(n => n.type === 'Precompiled')!.precompiled_charsmap!,
    'base64',
  );
  expect(readCharsmap(table)!('ﬁx²…').join('')).toBe('fix2...');
  expect(readCharsmap(table.subarray(0, 3))).toBeUndefined();
  expect(readCharsmap(table.subarray(0, 100))).toBeUndefined();
  const far = Buffer.from(table);
  // Every unit of the trie points far outside.
  for (let at = 4; at < 4 + far.readUInt32LE(0); at += 4) far.writeUInt32LE(0xfffff1ff, at);
  expect(readCharsmap(far)!('ﬁx²…').join('')).toBe('ﬁx²…');
});

test('a tokenizer of a shape that is not known is one clear line', async () => {
  const json = spieceJson(await readFile(`${folder}siglip/spiece.model`)) as { model: object };
  const changed = (model: object) => () => createSiglipTokenizer({ ...json, model }, {}, 'x/tokenizer.json');
  expect(changed({ ...json.model, unk_id: 999 })).toThrow(
    'x/tokenizer.json: model.unk_id: 999 is none of its 114 pieces',
  );
  expect(changed({ ...json.model, vocab: [['a']] })).toThrow(/^x\/tokenizer\.json: model\.vocab\.0[^\n]+$/);
  expect(changed({ type: 'WordLevel' })).toThrow('a tokenizer of the type "WordLevel"');
  expect(() => createSiglipTokenizer(json, { padding_side: 'top' })).toThrow('tokenizer_config.json: padding_side');
  expect(() => createSiglipTokenizer([], {})).toThrow('not a tokenizer.json');
  const damaged = { ...json, normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } };
  expect(() => createSiglipTokenizer(damaged, {})).toThrow('its precompiled_charsmap is damaged');
  const padded = createSiglipTokenizer(json, { padding_side: 'left' }).encode(['a'], 4);
  expect([...padded.ids.subarray(0, 2), padded.ids[3], padded.ends[0]]).toEqual([1, 1, 1, 3]);
});

function idsOf(tokenizer: ClipTokenizer, text: string, length: number): number[] {
  return [...tokenizer.encode([text], length).ids];
}
