/** Per-synset prototypes on cases computed by hand. */
import { expect, test } from 'vitest';
import { autoNames } from './auto.ts';
import { meaningPrototypes, namesOfMeanings } from './meanings.ts';

test('a row a gloss between the name and the gloss, and the plain one without', async () => {
  const asked: string[] = [];
  const { prototypes, begins } = await meaningPrototypes(
    [
      { name: 'crane', glosses: ['a bird', 'a machine'] },
      { name: 'dog', glosses: [] },
    ],
    Float32Array.of(1, 0, 0, 1),
    {
      width: 2,
      weight: 0.75,
      encodeTexts: texts => {
        asked.push(...texts);
        return Promise.resolve(Float32Array.of(0, 4, 3, 0));
      },
    },
  );
  expect(asked).toEqual(['a photo of a crane, a bird.', 'a photo of a crane, a machine.']);
  expect([...begins]).toEqual([0, 2, 3]);
  expect(prototypes).toBeAllclose([0.8, 0.6, 1, 0, 0, 1], { rtol: 1e-6 });
});

test('meanings as names: each once with its best score, −1 where there are no more', () => {
  const nearest = {
    top: 3,
    indices: Int32Array.of(1, 0, 2, 0, 1, 2),
    scores: Float32Array.of(0.9, 0.8, 0.1, 0.7, 0.6, 0.5),
  };
  const { indices, scores } = namesOfMeanings(nearest, Int32Array.of(0, 2, 3), 2);
  expect([...indices]).toEqual([0, 1, 0, 1]);
  expect(scores).toBeAllclose([0.9, 0.1, 0.7, 0.5], { rtol: 1e-6 });
  expect([...namesOfMeanings(nearest, Int32Array.of(0, 3), 2).indices]).toEqual([0, -1, 0, -1]);
});

test('a name is found by its second meaning', async () => {
  const angle = (degrees: number) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const features = Float32Array.from([0, 2, 4, 80, 82, 84].flatMap(angle));
  const options = { width: 2, scale: 20, threads: 1, hubs: 0, manyToOne: true, unknownBelow: 0 };
  const { labels } = await autoNames(
    features,
    Float32Array.from([170, 82, 2].flatMap(angle)),
    Int32Array.of(0, 0, 0, 1, 1, 1),
    { ...options, voteTop: 2, neighbours: 2, smoothing: 7, begins: Int32Array.of(0, 2, 3) },
  );
  expect([...labels]).toEqual([1, 1, 1, 0, 0, 0]);
});
