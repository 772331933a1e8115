import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { clipTokenizerFiles } from './clip-vocabulary.ts';
import { createTokenizer } from './tokenizer.ts';

interface Golden {
  tokenizer: { model: { vocab: string; merges: string } };
  kinds: [kind: string, count: number][];
  texts: string[];
  /** 8 hex digits a text. */
  transformers: string;
  open_clip: string;
  ids: Record<string, number[]>;
}

const path = new URL('../../../test/goldens/clip/vocabulary.json.gz', import.meta.url);
const golden = JSON.parse(gunzipSync(readFileSync(path)).toString('utf8')) as Golden;
const { tokenizer: json, tokenizerConfig } = clipTokenizerFiles();

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

test('the embedded vocabulary is the tokenizer.json that transformers makes of OpenAI’s merges', () => {
  const { model, ...rest } = json as { model: { vocab: Record<string, number>; merges: [string, string][] } };
  const words = Object.entries(model.vocab).sort(([, a], [, b]) => a - b);
  expect(words.map(([, id]) => id)).toEqual([...words.keys()]);
  const vocab = sha256(words.map(([word]) => word).join('\n'));
  const merges = sha256(model.merges.map(pair => pair.join(' ')).join('\n'));
  expect({ ...rest, model: { ...model, vocab, merges } }).toEqual(golden.tokenizer);
  expect(clipTokenizerFiles().tokenizer).toBe(json);
});

// The others hold what open_clip cleans before it tokenises (ftfy, HTML entities) and transformers does not.
const AS_OPEN_CLIP = ['english', 'emoji', 'numbers', 'punctuation', 'contractions', 'long'];

describe('ids of 5,000 texts', () => {
  const tokenizer = createTokenizer(json, tokenizerConfig);
  const { ids } = tokenizer.encode(golden.texts, 77);
  const rows = golden.texts.map((_, row) => withoutPadding(ids.slice(row * 77, row * 77 + 77)));
  const digests = rows.map(row => sha256(new Uint8Array(row.buffer)).slice(0, 8));
  const differing = (recorded: string, start: number, end: number): string[] =>
    golden.texts.slice(start, end).filter((_, i) => {
      const row = start + i;
      return digests[row] !== recorded.slice(row * 8, row * 8 + 8);
    });

  test.each(kindsWithRows())('%s: as transformers', (_kind, start, end) => {
    expect(differing(golden.transformers, start, end)).toEqual([]);
  });

  test.each(kindsWithRows().filter(([kind]) => AS_OPEN_CLIP.includes(kind)))(
    '%s: as open_clip',
    (_kind, start, end) => {
      expect(differing(golden.open_clip, start, end)).toEqual([]);
    },
  );

  test('the ids themselves', () => {
    expect(Object.keys(golden.ids).length).toBe(50);
    for (const [row, expected] of Object.entries(golden.ids)) {
      expect([...withoutPadding(Int32Array.from(expected))], golden.texts[Number(row)]).toEqual([...rows[Number(row)]]);
    }
  });
});

test('tokenizer.json as transformers 4 wrote it means the same', () => {
  const old = structuredClone(json) as {
    added_tokens: { normalized: boolean }[];
    pre_tokenizer: { pretokenizers: { pattern: { Regex: string }; use_regex?: boolean }[] };
    model: { merges: unknown[] };
  };
  old.added_tokens[0].normalized = true;
  const [split, bytes] = old.pre_tokenizer.pretokenizers;
  split.pattern.Regex = split.pattern.Regex.replace(/^.*?(?='s)/, '');
  delete bytes.use_regex;
  old.model.merges = old.model.merges.map(pair => (pair as string[]).join(' '));
  const rows = kindsWithRows().filter(([kind]) => kind !== 'special tokens');
  const texts = rows.flatMap(([, start, end]) => golden.texts.slice(start, end));
  const tokens = (of: object) => createTokenizer(of, tokenizerConfig).encode(texts, 77).ids;
  expect(tokens(old)).toEqual(tokens(json));
});

/** Up to the first of the end tokens that end a row, as the golden's hashes are made. */
function withoutPadding(ids: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  let length = ids.length;
  while (length > 1 && ids[length - 2] === 49407) length--;
  return ids.slice(0, length);
}

function kindsWithRows(): [kind: string, start: number, end: number][] {
  let at = 0;
  return golden.kinds.map(([kind, count]) => {
    at += count;
    return [kind, at - count, at];
  });
}
