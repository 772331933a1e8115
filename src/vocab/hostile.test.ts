/** Whatever a vocabulary file holds, it is a vocabulary or one clear line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { S3aError } from '../errors.ts';
import { loadVocabulary, makeVocabulary } from './vocabulary.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-hostile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files: Record<string, string> = {
  '.txt': '# names\nbird: an animal\ncrane\ta bird\nduck\n',
  '.csv': 'name,synonyms,gloss,parent,synset\nbird,fowl,"an ""animal"", it is",,n1\ncrane,a|b,,bird|x,n2\n',
  '.json':
    '[{"name": "bird", "synonyms": ["fowl"], "gloss": "an animal"}, {"name": "crane", "parents": ["bird"]}, "duck"]',
};
// What means something to one of the formats, or to nobody.
const pieces = [
  '"',
  ',',
  '|',
  '\n',
  '\r',
  ':',
  ': ',
  '\t',
  '#',
  '[',
  ']',
  '{',
  '}',
  '\\u0000',
  '\\ud800',
  'bird',
  'crane',
];
const piece = fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: 'binary', maxLength: 4 }));
const edit = fc.record({ at: fc.nat(200), remove: fc.nat(6), insert: piece });

test.each(Object.keys(files))('a damaged %s', async extension => {
  const path = join(folder, `names${extension}`);
  let read = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.boolean(), async (edits, cut) => {
      let text = files[extension];
      for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
      const bytes = Buffer.from(text);
      writeFileSync(path, cut ? bytes.subarray(0, edits[0].at) : bytes);
      const outcome = await loadVocabulary(path).catch((error: unknown) => error);
      if (outcome instanceof Error) {
        refused++;
        expect(outcome).toBeInstanceOf(S3aError);
        expect(outcome).toMatchObject({ code: 'VOCABULARY' });
        expect(outcome.message).not.toContain('\n');
        expect(outcome.message.length).toBeLessThan(500);
        return;
      }
      read++;
      const { names, entries, merged } = outcome as Awaited<ReturnType<typeof loadVocabulary>>;
      expect(new Set(names).size).toBe(names.length);
      for (const name of names) expect(name).toMatch(/^[^\p{Cc}\p{Cs}]{1,200}$/u);
      expect(entries.flatMap(({ synsets }) => synsets).length).toBeLessThanOrEqual(names.length + merged);
    }),
    { seed: 11, numRuns: 300 },
  );
  // Both happen, or the edits are too tame or too wild.
  expect(Math.min(read, refused)).toBeGreaterThan(10);
});

test('deep nesting and a name of endless meanings are refused', async () => {
  const deep = join(folder, 'deep.json');
  writeFileSync(deep, '['.repeat(200_000));
  await expect(loadVocabulary(deep)).rejects.toMatchObject({ code: 'VOCABULARY' });
  const same = Array.from({ length: 200_000 }, (_, i) => ({ synonyms: ['a'], gloss: `${i}` }));
  expect(() => makeVocabulary('x', same)).toThrow('vocabulary x: the name "a" has more than 100 meanings');
  expect(makeVocabulary('x', same.slice(0, 100)).entries[0].synsets).toHaveLength(100);
});
