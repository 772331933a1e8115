import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadVocabulary, makeVocabulary } from '../vocab/vocabulary.ts';
import { nameOfClass } from './score.ts';
import { smallerVocabulary, vocabularySpec } from './vocabularies.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-names-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const at = (name: string) => join(scratch, name);

it('vocabularies are merged by name, with all their meanings', async () => {
  writeFileSync(at('a.json'), '[{"name": "crane", "gloss": "a bird", "synset": "n02012849"}, "wren"]');
  writeFileSync(at('b.txt'), 'Crane: a machine that lifts\nowl\n');
  const path = await vocabularySpec(`${at('a.json')}+${at('b.txt')}`, scratch);
  const { names, entries, merged } = await loadVocabulary(path);
  expect(names).toEqual(['crane', 'wren', 'owl']);
  expect(entries[0].synsets).toEqual([
    { id: 'n02012849', synonyms: ['crane'], gloss: 'a bird' },
    { synonyms: ['crane'], gloss: 'a machine that lifts' },
  ]);
  expect(merged).toBe(1);
  expect(await vocabularySpec(`${at('a.json')}+${at('b.txt')}`, scratch)).toBe(path);
  await expect(vocabularySpec('in1k+nothing', scratch)).rejects.toThrow('there is no vocabulary "nothing"');
});

it('a vocabulary or a file alone is left as it is, concepts are written out', async () => {
  writeFileSync(at('c+d.txt'), 'owl\n');
  expect(await vocabularySpec('in21k', scratch)).toBe('in21k');
  expect(await vocabularySpec(at('c+d.txt'), scratch)).toBe(at('c+d.txt'));
  const path = await vocabularySpec([{ synonyms: ['owl', 'bird of night'], gloss: 'it hoots' }], scratch);
  const { entries } = await loadVocabulary(path);
  expect(entries).toEqual([{ name: 'owl', synsets: [{ synonyms: ['owl', 'bird of night'], gloss: 'it hoots' }] }]);
});

it('a smaller vocabulary holds the true names, in places that do not tell', async () => {
  const words = Array.from({ length: 200 }, (_, i) => `name ${i}`);
  const all = makeVocabulary(
    'all',
    words.map(name => ({ synonyms: [name] })),
  );
  const wanted = ['name 150', 'name 3', 'not there'];
  const read = async (size: number, seed: number) =>
    (await loadVocabulary(await smallerVocabulary(all, wanted, size, seed, scratch))).names;
  const [small, other, least] = [await read(40, 0), await read(40, 1), await read(1, 0)];
  expect(small).toHaveLength(40);
  expect(small).toEqual(words.filter(name => small.includes(name)));
  expect(small).toEqual(expect.arrayContaining(['name 3', 'name 150']));
  expect(other).not.toEqual(small);
  expect(least).toEqual(['name 3', 'name 150']);
});

it('a class has the name that the vocabulary gives its synset, or its own', async () => {
  const vocabulary = makeVocabulary('some', [
    { id: 'n02084071', synonyms: ['hound'] },
    { synonyms: ['golden retriever'] },
  ]);
  const name = nameOfClass(vocabulary);
  expect(name({ name: 'dog', synset: 'n02084071' })).toBe('hound');
  // Unknown by its id: its own name where the vocabulary has that, else WordNet's first word for it.
  expect(name({ name: 'Golden  Retriever', synset: 'n02099601' })).toBe('golden retriever');
  expect(name({ name: 'our cat', synset: 'n02121620' })).toBe('cat');
  expect(name({ name: 'Our Cat' })).toBe('our cat');
});
