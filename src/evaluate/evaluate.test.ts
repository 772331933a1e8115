import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { topKFromRanked } from './accuracy.ts';
import { evaluateClustering } from './clustering.ts';
import { evaluate } from './evaluate.ts';
import { compareNames } from './names.ts';

interface Golden {
  clustering: {
    name: string;
    clusters: number[];
    truth: number[];
    accuracy: number;
    nmi: number;
    ari: number;
    purity: number;
    meanPurity: number;
  }[];
  top: { scores: number[]; labels: number[]; accuracy: Record<string, number> };
  sets: { found: number[]; true: number[]; iou: number; recall: number }[];
}

const golden = JSON.parse(readFileSync(new URL('../../test/goldens/evaluate.json', import.meta.url), 'utf8')) as Golden;

describe('against scikit-learn', () => {
  test.each(golden.clustering)('clustering: $name', ({ name: _, clusters, truth, ...expected }) => {
    const { clusters: __, classes: ___, ...figures } = evaluateClustering(clusters, truth);
    expect(Object.keys(figures)).toEqual(Object.keys(expected));
    // The same double arithmetic, added in another order.
    expect(Object.values(figures)).toBeAllclose(Object.values(expected), { rtol: 1e-12, atol: 1e-12 });
  });

  test('top-k accuracy', () => {
    const { scores, labels, accuracy } = golden.top;
    const ranked = labels.map((_, i) => {
      const row = scores.slice(12 * i, 12 * i + 12);
      return [...row.keys()].sort((a, b) => row[b] - row[a]).map(String);
    });
    expect(topKFromRanked(ranked, labels.map(String))).toEqual(accuracy);
  });

  test('recall and IoU of names', () => {
    for (const { found, true: wanted, iou, recall } of golden.sets) {
      const report = compareNames(found.map(String), wanted.map(String));
      expect([report.iou, report.recall]).toBeAllclose([iou, recall], { rtol: 1e-15, atol: 0 });
    }
  });
});

test('the figures do not depend on what the groups are called', () => {
  const labels = fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(labels, pairs => {
      const clusters = pairs.map(([cluster]) => cluster);
      const truth = pairs.map(([, name]) => name);
      const plain = evaluateClustering(clusters, truth);
      expect(
        evaluateClustering(
          clusters.map(cluster => `c${(cluster * 5 + 1) % 7}`),
          truth.map(String),
        ),
      ).toEqual(plain);
      expect(plain.accuracy).toBeLessThanOrEqual(plain.purity);
    }),
    { seed: 5 },
  );
});

test('ranked names count as far as they are long enough', () => {
  const ranked = [
    ['Dog', 'cat', 'fox'],
    ['cat', 'dog', 'fox', 'emu'],
  ];
  expect(topKFromRanked(ranked, ['cat', ' CAT'])).toEqual({ 1: 0.5, 3: 1 });
  expect(() => topKFromRanked(ranked, ['cat'])).toThrow('2 lists of names for 1 true names');
});

test('names: found, missing and extra ones, once each', () => {
  expect(compareNames(['Dog', 'dog', 'emu', 'cat'], ['fox', 'cat ', 'dog', 'dog'])).toEqual({
    found: ['cat', 'dog'],
    missing: ['fox'],
    extra: ['emu'],
    recall: 2 / 3,
    precision: 2 / 3,
    f1: 2 / 3,
    iou: 2 / 4,
  });
  expect(compareNames([], ['fox'])).toMatchObject({ found: [], recall: 0, precision: 0, f1: 0, iou: 0 });
  expect(() => compareNames(['a'], [])).toThrow('there are no true names');
});

test('the whole report of six images', () => {
  const truth = ['dog', 'dog', 'dog', 'Cat', 'cat', 'fox'];
  const names = ['dog', 'wolf', 'wolf', 'cat', 'dog', ''];
  const ranked = names.map((name, i) => [name, i % 2 ? 'dog' : 'x', truth[i]]);
  const report = evaluate({ names, ranked, clusters: Int32Array.from([0, 1, 1, 2, 2, 2]) }, truth);
  expect(report).toMatchObject({
    images: 6,
    named: 5,
    classes: 3,
    accuracy: { 1: 2 / 6, 3: 1 },
    classAccuracy: expect.closeTo(5 / 18, 14),
    // dog = wolf (2), cat = cat (1), fox = no name (1)
    clustering: { clusters: 4, classes: 3, accuracy: 4 / 6, purity: 5 / 6, meanPurity: 3.5 / 4 },
    clusters: { clusters: 3, accuracy: 4 / 6, purity: 5 / 6 },
    names: { found: ['cat', 'dog'], missing: ['fox'], extra: ['wolf'] },
  });
  expect(report.accuracy).not.toHaveProperty('5');
  expect(report.perClass).toEqual([
    {
      truth: 'cat',
      images: 2,
      correct: 1,
      recall: 1 / 2,
      precision: 1,
      f1: 2 / 3,
      predicted: [
        { name: 'cat', images: 1 },
        { name: 'dog', images: 1 },
      ],
    },
    {
      truth: 'dog',
      images: 3,
      correct: 1,
      recall: 1 / 3,
      precision: 1 / 2,
      f1: 2 / 5,
      predicted: [
        { name: 'wolf', images: 2 },
        { name: 'dog', images: 1 },
      ],
    },
    { truth: 'fox', images: 1, correct: 0, recall: 0, precision: 0, f1: 0, predicted: [{ name: '', images: 1 }] },
  ]);
  expect(report.confusions).toEqual([
    { truth: 'dog', predicted: 'wolf', images: 2 },
    { truth: 'cat', predicted: 'dog', images: 1 },
    { truth: 'fox', predicted: '', images: 1 },
  ]);
});

test('lengths that differ and no images are one clear line', () => {
  expect(() => evaluate({ names: ['a'] }, ['a', 'b'])).toThrow('1 predicted names for 2 true names');
  expect(() => evaluate({ names: [] }, [])).toThrow('there are no images to evaluate');
  expect(() => evaluateClustering([1], [1, 2])).toThrow('1 clusters for 2 true classes');
});
