import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { loadVocabulary, makeVocabulary } from '../vocab/vocabulary.ts';
import { nameOfLabel, readTruth } from './truth.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-truth-'));

function write(name: string, text = ''): string {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

test('a folder of classes: by relative names', async () => {
  for (const file of ['cat/1.png', 'cat/2.png', 'dog/2.png', 'deep/dog/3.png', 'dog/3.png', 'loose.png']) {
    write(`classes/${file}`);
  }
  const truth = await readTruth(join(folder, 'classes'));
  const labels = { 'cat/1.png': 'cat', 'dog/2.png': 'dog', 'bird/1.png': undefined, 'loose.png': undefined };
  expect(truth(Object.keys(labels))).toEqual(Object.values(labels));
});

test('a folder of classes for images that lie elsewhere: by names that are unique on both sides', async () => {
  for (const file of ['cat/1.png', 'cat/2.png', 'dog/2.png', 'cat/3.png', 'deep/cat/3.png', 'dog/4.png']) {
    write(`elsewhere/${file}`);
  }
  const truth = await readTruth(join(folder, 'elsewhere'));
  const labels = { 'x/1.png': 'cat', '2.png': undefined, '3.png': 'cat', 'a/4.png': undefined, 'b/4.png': undefined };
  expect(truth(Object.keys(labels))).toEqual(Object.values(labels));
});

test('a table, of which some rows have no label', async () => {
  const text = 'file_name,label\n"a, b.png",polar_bear\n./c/d.png,7\ne.png,\nf.png,""\n';
  const truth = await readTruth(write('truth.csv', text));
  expect(truth(['a, b.png', 'c/d.png', 'e.png', 'f.png'])).toEqual(['polar_bear', '7', undefined, undefined]);
});

test.each([
  ['no column', write('no.csv', 'file,label\na,b\n'), 'row 1: no file_name or no label; its columns are file, label'],
  ['contradictions', write('two.csv', 'file_name,label\na,b\na,c\n'), 'a is labelled both b and c'],
  ['nothing there', join(folder, 'none.csv'), 'cannot read the labels'],
  ['another file type', write('truth.xlsx'), 'is not a .csv, .jsonl or .parquet file'],
])('labels that are wrong: %s', async (_, path, message) => {
  await expect(readTruth(path)).rejects.toThrow(message);
});

test('a folder without sub-folders', async () => {
  write('flat/a.png');
  await expect(readTruth(join(folder, 'flat'))).rejects.toThrow('has no sub-folders with images');
});

test('WordNet ids and underscores become names', async () => {
  const nameOf = nameOfLabel(await loadVocabulary('in1k'));
  expect(['n01440764', 'N02084071', 'n99999999', 'Ice_Bear', ' tench ', 'giant_panda'].map(nameOf)).toEqual([
    'tench',
    // Not a class of ImageNet-1k; WordNet knows it all the same.
    'dog',
    'n99999999',
    'ice bear',
    'tench',
    'giant panda',
  ]);
  const snake = nameOfLabel(makeVocabulary('x', [{ synonyms: ['snake_case'] }]));
  expect(['snake_case', 'other_case'].map(snake)).toEqual(['snake_case', 'other case']);
});
