import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { S3aError } from '../errors.ts';
import { packageFile } from './package-root.ts';
import { parseCsv, parseJson, parseText } from './parse.ts';
import { BUILT_IN_VOCABULARIES, loadVocabulary, makeVocabulary } from './vocabulary.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-vocab-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('in21k', () => {
  test('has the 20,071 names of METHOD §1, distinct and in lower case', async () => {
    const { names, entries, merged, hash } = await loadVocabulary('in21k');
    expect(names).toHaveLength(20_071);
    expect(new Set(names).size).toBe(20_071);
    expect(merged).toBe(21_844 - 20_071);
    expect(names.every(name => name === name.toLowerCase().trim() && !name.includes('_'))).toBe(true);
    expect(entries.flatMap(entry => entry.synsets)).toHaveLength(21_844);
    expect(entries.map(entry => entry.name)).toEqual(names);
    expect((await loadVocabulary('in21k')).hash).toBe(hash);
  });

  test('names, glosses and parents are those of WordNet 3.0', async () => {
    const { entries } = await loadVocabulary('in21k');
    const entryOf = (name: string) => entries.find(entry => entry.name === name)!;
    expect(entryOf('dog').synsets).toEqual([
      {
        id: 'n02084071',
        synonyms: ['dog', 'domestic dog', 'Canis familiaris'],
        gloss:
          'a member of the genus Canis (probably descended from the common wolf) that has been domesticated by man since prehistoric times; occurs in many breeds',
        parents: ['canine', 'domestic animal'],
      },
    ]);
    expect(entryOf('crane').synsets.map(({ id }) => id)).toEqual(['n02012849', 'n03126707']);
    // Only ImageNet-1k has this one.
    expect(entryOf('teddy').synsets).toMatchObject([{ id: 'n04399382', parents: ['plaything'] }]);
    const meanings = entries.flatMap(entry => entry.synsets);
    expect(meanings.every(({ gloss, parents }) => gloss && parents!.length > 0)).toBe(true);
    expect(meanings.filter(({ gloss }) => gloss!.includes('; "'))).toEqual([]);
  });

  test('is found by the compiled package, from any folder', () => {
    const module = new URL('../../dist/src/vocab/vocabulary.js', import.meta.url).href;
    const script = `import { loadVocabulary } from ${JSON.stringify(module)}; console.log((await loadVocabulary('in1k')).names.length);`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(stdout).toBe('997\n');
  });

  test('carries the WordNet licence, and says what is missing from a broken installation', () => {
    expect(readFileSync(packageFile('src/vocab/data/WORDNET-LICENSE'), 'utf8')).toContain(
      'WordNet 3.0 Copyright 2006 by Princeton University',
    );
    expect(() => packageFile('src/vocab/data/absent')).toThrow('absent is missing from the package');
  });
});

test('in1k is the 1,000 synsets in class order, whose first lemmas are 997 names', async () => {
  const { names, entries } = await loadVocabulary('in1k');
  expect(names).toHaveLength(997);
  expect(names.slice(0, 3)).toEqual(['tench', 'goldfish', 'great white shark']);
  const twice = entries.filter(({ synsets }) => synsets.length > 1).map(({ name }) => name);
  expect(twice).toHaveLength(3);
  expect(twice).toContain('crane');
  expect(names.at(-1)).toBe('toilet tissue');
});

test('built-in vocabularies are called by their names', async () => {
  const names = ['in21k', 'in1k', 'wordnet', 'demo'];
  expect(Object.keys(BUILT_IN_VOCABULARIES)).toEqual(names);
  expect((await Promise.all(names.map(loadVocabulary))).map(({ id }) => id)).toEqual(names);
  const known = new Set((await loadVocabulary('wordnet')).names);
  expect(['einstein', 'paris', 'justice'].filter(name => !known.has(name))).toEqual([]);
});

describe('custom files', () => {
  test('.txt: glosses after a colon or a tab, comments, blank lines, CRLF, a byte-order mark', async () => {
    const path = file(
      'birds.v1.txt',
      '\ufeff# my birds\r\nRobin: a small bird\r\n\r\n  Great   Tit \t with: a colon\nC3:PO\n#end',
    );
    const vocabulary = await loadVocabulary(path);
    expect(vocabulary).toMatchObject({ id: 'birds.v1', names: ['robin', 'great tit', 'c3:po'], merged: 0 });
    expect(vocabulary.entries).toEqual([
      { name: 'robin', synsets: [{ synonyms: ['Robin'], gloss: 'a small bird' }] },
      { name: 'great tit', synsets: [{ synonyms: ['Great Tit'], gloss: 'with: a colon' }] },
      { name: 'c3:po', synsets: [{ synonyms: ['C3:PO'] }] },
    ]);
  });

  test('.csv and .json say the same', async () => {
    const csv = file(
      'a.csv',
      '\ufeffGloss,Name,synonyms,extra,Parent,synset\n"a ""big"", cat",Lion,king of beasts| lion ,x,cat|animal,n1\n,Tiger\n',
    );
    const json = file(
      'a.json',
      JSON.stringify([
        {
          name: 'Lion',
          gloss: 'a "big", cat',
          synonyms: ['king of beasts', 'lion'],
          parents: ['cat', 'animal'],
          synset: 'n1',
        },
        'Tiger',
      ]),
    );
    const fromCsv = await loadVocabulary(csv);
    expect(fromCsv.entries).toEqual([
      {
        name: 'lion',
        synsets: [
          { id: 'n1', synonyms: ['Lion', 'king of beasts', 'lion'], gloss: 'a "big", cat', parents: ['cat', 'animal'] },
        ],
      },
      { name: 'tiger', synsets: [{ synonyms: ['Tiger'] }] },
    ]);
    expect(await loadVocabulary(json)).toEqual(fromCsv);
  });

  test('equal names are merged and counted, and keep their different meanings', async () => {
    const path = file(
      'twice.txt',
      'crane\ncrane: a bird\nCRANE : a machine\ncrane\n crane: a bird\nCafe\u0301\ncaf\u00e9\n',
    );
    const { names, entries, merged } = await loadVocabulary(path);
    expect(names).toEqual(['crane', 'caf\u00e9']);
    expect(merged).toBe(5);
    expect(entries[0].synsets.map(({ gloss }) => gloss)).toEqual(['a bird', 'a machine']);
  });

  test('the hash depends on names, order and glosses', () => {
    const hash = (...glosses: [string, string?][]) =>
      makeVocabulary(
        'x',
        glosses.map(([name, gloss]) => ({ synonyms: [name], gloss })),
      ).hash;
    const all = [hash(['a'], ['b']), hash(['b'], ['a']), hash(['a', 'x'], ['b']), hash(['a'])];
    expect(new Set(all).size).toBe(4);
    expect(hash(['a'], ['b'])).toBe(all[0]);
  });

  test.each<[string, string | Uint8Array, string]>([
    ['empty.txt', '', 'has no names'],
    ['comments.txt', '# nothing\n\n', 'has no names'],
    ['noname.txt', 'a\n: gloss\n', 'noname.txt, line 2: the name is empty'],
    ['long.txt', `a\n${'x'.repeat(20_000)}`, 'long.txt, line 2: longer than 10000 characters'],
    ['longname.txt', 'x'.repeat(300), 'has 300 characters, at most 200'],
    ['latin1.txt', Uint8Array.from([0x63, 0x61, 0x66, 0xe9]), 'is not UTF-8 text'],
    ['utf16.txt', Uint8Array.from([0xff, 0xfe, 0x61, 0x00]), 'is not UTF-8 text'],
    ['empty.csv', '', 'has no names'],
    ['header.csv', 'name\n', 'has no names'],
    ['columns.csv', 'label,gloss\na,b\n', 'has no column "name", only: label, gloss'],
    ['noname.csv', 'name,gloss\na,b\n,c\n', 'noname.csv, line 3: the name is empty'],
    ['quote.csv', 'name\n"a\n', 'is not valid CSV'],
    ['long.csv', `name\n"${'x'.repeat(20_000)}"\n`, 'is not valid CSV'],
    ['empty.json', '[]', 'has no names'],
    ['broken.json', '["a"', 'is not valid JSON'],
    ['object.json', '{"a": 1}', 'is not a JSON list'],
    ['null.json', '["a", null]', 'entry 2: neither a name nor an object'],
    ['type.json', '[{"name": 3}]', 'entry 1: name, gloss and synset must be text'],
    ['synset.json', '[{"name": "a", "synset": 1}]', 'entry 1: name, gloss and synset must be text'],
    ['control.txt', 'a\nb\u001b[2J\n', 'control.txt, line 2: one of the names has characters that cannot be written'],
    ['surrogate.json', '["a", "\\ud800"]', 'entry 2: one of the names has characters that cannot be written'],
    ['synonyms.json', JSON.stringify([{ name: 'a', synonyms: Array(1001).fill('b') }]), '1001 synonyms, at most 1000'],
    ['gloss.json', JSON.stringify([{ name: 'a', gloss: 'b'.repeat(10_001) }]), 'the gloss has 10001 characters'],
    ['parent.csv', `name,parent\na,${'b'.repeat(201)}\n`, 'line 2: one of the parents has 201 characters, at most 200'],
    ['many.json', `[${'"a",'.repeat(500_000)}"a"]`, 'has more than 500000 concepts'],
    ['meanings.txt', Array.from({ length: 101 }, (_, i) => `a: ${i}\n`).join(''), '"a" has more than 100 meanings'],
    ['itself.json', '[{"name": "a", "parents": ["A "]}]', 'itself.json: the parents go in a circle: a > a'],
    ['circle.csv', 'name,parent\nx,b\na,b\nb,C|d\nc,a\n', 'circle.csv: the parents go in a circle: b > c > a > b'],
    ['list.json', '[{"name": "a", "synonyms": "b"}]', 'entry 1: synonyms and parents must be lists of text'],
    ['names.xlsx', '', 'is not a .txt, .csv or .json file'],
  ])('%s is one clear line', async (name, content, message) => {
    const error = await loadVocabulary(file(name, content)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(S3aError);
    expect(error).toMatchObject({ code: 'VOCABULARY', message: expect.stringContaining(message) as string });
    expect((error as S3aError).message).not.toContain('\n');
  });

  test('no format is read beyond the most concepts', () => {
    expect(parseText('# x\na\n\nb\n', 'x', 2)).toHaveLength(2);
    expect(parseCsv('name\na\nb\n', 'x', 2)).toHaveLength(2);
    expect(parseJson('["a", "b"]', 'x', 2)).toHaveLength(2);
    expect(() => parseText('a\nb\nc', 'x', 2)).toThrow('the vocabulary x has more than 2 concepts');
    expect(() => parseCsv('name\na\nb\nc\nd\n', 'x', 2)).toThrow('the vocabulary x has more than 2 concepts');
    expect(() => parseJson('["a", "b", "c"]', 'x', 2)).toThrow('the vocabulary x has more than 2 concepts');
  });

  test('unknown names and absent files are one clear line', async () => {
    await expect(loadVocabulary('in22k')).rejects.toMatchObject({
      code: 'VOCABULARY',
      message: 'there is no vocabulary "in22k"',
    });
    await expect(loadVocabulary('toString')).rejects.toMatchObject({ code: 'VOCABULARY' });
    await expect(loadVocabulary(join(folder, 'absent.txt'))).rejects.toThrow('cannot read the vocabulary');
  });
});
