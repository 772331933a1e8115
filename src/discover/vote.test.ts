/** The vote against numpy and scipy, image for image, and what holds for any data. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  assignmentsRecord,
  features,
  prototypes,
  roundsRecord,
  type SparseRows,
  WIDTH,
} from '../../test/discover-goldens.ts';
import { random } from '../random.ts';
import { NameSearch } from './nearest.ts';
import { assignNames, countVotes, type NameScores, nameScores, partitionOf, topNames, vote } from './vote.ts';

const sparse = (rows: readonly NameScores[]): SparseRows =>
  rows.map(row => [...row.names].map((name, i): [number, number] => [name, row.scores[i]]).sort(([a], [b]) => a - b));

describe('recorded rounds', () => {
  test.each(roundsRecord.cases.map((record, i) => ({ i, ...record })))('seed $seed', async ({ i, ...record }) => {
    const result = await vote(features[i], prototypes, Int32Array.from(record.clusters), { width: WIDTH, threads: 1 });
    expect(result.rounds.map(({ names, labels }) => ({ names: [...names], labels: [...labels] }))).toEqual(
      record.rounds,
    );
    const { partition, votes } = result.counted;
    expect([...partition.clusters]).toEqual(record.counted.clusters);
    expect(sparse(votes)).toEqual(record.counted.votes);
    expect(votes.map(row => topNames(row))).toEqual(record.counted.candidates);
    // The recorded data changes in the second round and not in the third.
    expect(result.fixedPoint).toBe(2);
  });
});

describe('assignment of names', () => {
  const rows = (votes: SparseRows): NameScores[] => votes.map(nameScores);

  test('starved clusters get the names that scipy gives them', () => {
    for (const { votes, names } of assignmentsRecord.cases) {
      expect([...assignNames(rows(votes), assignmentsRecord.vocabulary)]).toEqual(names);
    }
  });

  test('or none at all', () => {
    for (const { votes, names, starved } of assignmentsRecord.cases) {
      const expected = names.map((name, k) => (starved.includes(k) ? -1 : name));
      expect([...assignNames(rows(votes), assignmentsRecord.vocabulary, 'unnamed')]).toEqual(expected);
    }
  });

  test('more clusters than names leave clusters without one', () => {
    const found = assignNames([nameScores([[0, 0.4]]), nameScores([[0, 0.6]]), nameScores([[1, 0.1]])], 2);
    expect([...found]).toEqual([-1, 0, 1]);
  });
});

test('candidates: by falling share, the lower index first among equals, names without votes never', () => {
  const [row] = countVotes(Int32Array.of(7, 2, 7, 5, 2, 9), partitionOf(Int32Array.of(4, 4, 4, 4, 4, 4)));
  expect(topNames(row)).toEqual([2, 7, 5]);
  expect([...row.scores]).toEqual([2 / 6, 2 / 6, 1 / 6, 1 / 6]);
  expect(topNames(row, 9)).toEqual([2, 7, 5, 9]);
});

test('a name that attracts no image drops out of the next round', async () => {
  // Names at 0°, 40° and 180°. Two clusters vote for 0°; the one that does not win starves and gets the free name 180°,
  // which is nearest to nothing.
  const at = (degrees: number): number[] => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const h = Float32Array.from([0, 40, 180].flatMap(at));
  const z = Float32Array.from([1, 2, 3, 39, 41].flatMap(at));
  const { rounds, counted } = await vote(z, h, Int32Array.of(0, 0, 1, 2, 2), { width: 2, threads: 1 });
  expect(rounds.map(({ names }) => [...names])).toEqual([
    [0, 1, 2],
    [0, 1],
    [0, 1],
  ]);
  expect([...rounds[0].labels]).toEqual([0, 0, 0, 1, 1]);
  expect(counted.partition.count).toBe(2);
  const unnamed = await vote(z, h, Int32Array.of(0, 0, 1, 2, 2), { width: 2, threads: 1, starved: 'unnamed' });
  expect([...unnamed.rounds[0].names]).toEqual([0, 1]);
});

describe('for any data', () => {
  const search = new NameSearch(4, { threads: 1 });
  afterAll(() => search.dispose());
  const draw = (seed: number, n: number): Float32Array => {
    const normal = random(seed, 'vote').normal;
    const rows = Array.from({ length: n }, () => Array.from({ length: 4 }, normal));
    return Float32Array.from(rows.flatMap(row => row.map(value => value / Math.hypot(...row))));
  };
  const cases = fc.record({
    seed: fc.nat(10_000),
    images: fc.constantFrom(12, 25),
    names: fc.constantFrom(3, 15),
    clusters: fc.integer({ min: 1, max: 6 }),
    starved: fc.constantFrom('first' as const, 'unnamed' as const),
  });

  test('names are one to one, labels are among them, candidates have votes', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, images, names, clusters, starved }) => {
        const [z, h] = [draw(seed, images), draw(seed + 1, names)];
        const labels = Int32Array.from({ length: images }, (_, i) => random(seed, i).int(clusters));
        const { rounds, counted } = await vote(z, h, labels, { width: 4, starved, search });
        expect(rounds.length).toBe(3);
        let most = new Set(labels).size;
        for (const round of rounds) {
          expect(new Set(round.names).size).toBe(round.names.length);
          expect(round.names.length).toBeLessThanOrEqual(Math.min(most, names));
          for (const label of round.labels) expect(round.names).toContain(label);
          most = new Set(round.labels).size;
        }
        for (const { names: voted, scores } of counted.votes) {
          expect(voted.length).toBeGreaterThan(0);
          expect([scores.reduce((a, b) => a + b)]).toBeAllclose([1]);
        }
      }),
      { numRuns: 15, seed: 1 },
    );
  });

  test('the order of the images does not matter', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, images, names, clusters, starved }) => {
        const [z, h] = [draw(seed, images), draw(seed + 1, names)];
        const labels = Int32Array.from({ length: images }, (_, i) => random(seed, i).int(clusters));
        const order = random(seed, 'order').shuffle(Int32Array.from({ length: images }, (_, i) => i));
        const shuffled = Float32Array.from([...order].flatMap(i => [...z.subarray(i * 4, i * 4 + 4)]));
        const options = { width: 4, starved, search };
        const plain = await vote(z, h, labels, options);
        const moved = await vote(
          shuffled,
          h,
          order.map(i => labels[i]),
          options,
        );
        plain.rounds.forEach((round, r) => {
          expect([...moved.rounds[r].names]).toEqual([...round.names]);
          expect([...moved.rounds[r].labels]).toEqual([...order].map(i => round.labels[i]));
        });
      }),
      { numRuns: 15, seed: 1 },
    );
  });

  test('threads do not matter', async () => {
    const clusters = Int32Array.from(roundsRecord.cases[0].clusters);
    const [one, two] = await Promise.all(
      [1, 2].map(threads => vote(features[0], prototypes, clusters, { width: WIDTH, threads })),
    );
    expect(two).toEqual(one);
  });
});

test('sizes are checked', async () => {
  await expect(vote(features[0], prototypes, new Int32Array(7), { width: WIDTH })).rejects.toThrow(
    '300 images but 7 cluster labels',
  );
});
