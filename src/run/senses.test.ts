/** The meaning of a name is that of its images. */
import { expect, test } from 'vitest';
import { synsetsOf } from './senses.ts';

const entries = [
  {
    name: 'crane',
    synsets: [
      { id: 'n1', synonyms: ['crane'], gloss: 'a machine' },
      { id: 'n2', synonyms: ['crane'], gloss: 'a bird' },
    ],
  },
  { name: 'cup', synsets: [{ id: 'n3', synonyms: ['cup'] }] },
  { name: 'thing', synsets: [{ synonyms: ['thing'] }] },
];
const asked: string[] = [];
const encodeTexts = async (texts: string[]): Promise<Float32Array> => {
  asked.push(...texts);
  return Float32Array.from(texts.flatMap(text => (text.includes('bird') ? [0, 1] : [1, 0])));
};

test('of several meanings the one nearest to the images, else the only one, else none', async () => {
  const features = Float32Array.of(0.6, 0.8, 0, 1, 1, 0, 1, 0);
  const found = await synsetsOf(features, 2, Int32Array.of(0, 0, 1, 2), entries, encodeTexts);
  expect([...found]).toEqual([
    [0, 'n2'],
    [1, 'n3'],
  ]);
  expect(asked).toEqual(['a photo of a crane, a machine', 'a photo of a crane, a bird']);
  const machines = await synsetsOf(features.slice(4), 2, Int32Array.of(0, -1), entries, encodeTexts);
  expect([...machines]).toEqual([[0, 'n1']]);
});

test('without texts to compare, the first meaning', async () => {
  const found = await synsetsOf(Float32Array.of(0, 1), 2, Int32Array.of(0), entries);
  expect([...found]).toEqual([[0, 'n1']]);
});
