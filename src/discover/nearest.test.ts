/** Nearest names against a plain double loop. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { features, prototypes, roundsRecord, WIDTH } from '../../test/discover-goldens.ts';
import { random } from '../random.ts';
import { NameSearch, nearestNames } from './nearest.ts';

test('top-1 names equal those numpy recorded', async () => {
  const search = new NameSearch(WIDTH, { threads: 1 });
  for (const [i, record] of roundsRecord.cases.entries()) {
    const { indices } = await search.nearest(features[i], prototypes);
    expect([...indices]).toEqual(record.nearest);
  }
  await search.dispose();
});

test('any number of images and names', async () => {
  const search = new NameSearch(5, { threads: 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(1000),
        images: fc.integer({ min: 1, max: 30 }),
        names: fc.integer({ min: 1, max: 12 }),
        top: fc.integer({ min: 1, max: 4 }),
      }),
      async ({ seed, images, names, top }) => {
        const draw = random(seed, 'nearest');
        const table = (n: number): Float32Array => Float32Array.from({ length: n * 5 }, () => draw.normal());
        const [z, h] = [table(images), table(names)];
        const found = await search.nearest(z, h, { top });
        expect(found.top).toBe(Math.min(top, names));
        for (let i = 0; i < images; i++) {
          const dots = Array.from({ length: names }, (_, w) =>
            z.subarray(i * 5, i * 5 + 5).reduce((sum, value, d) => sum + value * h[w * 5 + d], 0),
          );
          const order = [...dots.keys()].sort((a, b) => dots[b] - dots[a]).slice(0, found.top);
          const at = i * found.top;
          expect([...found.indices.subarray(at, at + found.top)]).toEqual(order);
          expect(found.scores.subarray(at, at + found.top)).toBeAllclose(order.map(w => dots[w]));
        }
      },
    ),
    { numRuns: 15, seed: 1 },
  );
  await search.dispose();
});

test('more names than one block holds are merged, the lower index first among equals', async () => {
  const names = 70_000;
  const h = new Float32Array(names * 2);
  for (const [name, x] of [
    [40, 0.5],
    [33_000, 0.75],
    [69_999, 0.75],
    [5, 0.25],
  ] as const)
    h[name * 2] = x;
  const { indices, scores } = await nearestNames(Float32Array.of(1, 0), h, { width: 2, top: 5 });
  expect([...indices]).toEqual([33_000, 69_999, 40, 5, 0]);
  expect([...scores]).toEqual([0.75, 0.75, 0.5, 0.25, 0]);
});

test('one search serves calls at a time, and arrays that are filled anew', async () => {
  const search = new NameSearch(WIDTH, { threads: 1 });
  const all = await Promise.all(features.map(z => search.nearest(z, prototypes)));
  expect(all.map(({ indices }) => [...indices])).toEqual(roundsRecord.cases.map(({ nearest }) => nearest));
  const buffer = features[0].slice();
  await search.nearest(buffer, prototypes);
  buffer.set(features[1]);
  expect([...(await search.nearest(buffer, prototypes)).indices]).toEqual(roundsRecord.cases[1].nearest);
  await search.dispose();
});

test('sizes are checked', async () => {
  await expect(nearestNames(new Float32Array(6), new Float32Array(5), { width: 3 })).rejects.toThrow(
    'prototypes: 5 values are not one or more rows of 3',
  );
});

test('the filter and the threads do not show, also where all features point the same way', async () => {
  const [images, names, width] = [2500, 1200, 48];
  const draw = random(4, 'cone');
  // One large value that all share, as CLIP's features have it.
  const table = (n: number): Float32Array =>
    Float32Array.from({ length: n * width }, (_, at) => (at % width === 5 ? 20 : 0) + draw.normal());
  const [z, h] = [table(images), table(names)];
  h.copyWithin(700 * width, 0, 50 * width); // equal names: the lower index is first
  const found = [];
  for (const threads of [1, 3]) {
    const search = new NameSearch(width, { threads });
    found.push(await search.nearest(z, h, { top: 3 }));
    found.push(await search.nearest({ count: images, width, read: async (a, b) => z.slice(a * width, b * width) }, h));
    await search.dispose();
  }
  expect(found[2]).toEqual(found[0]);
  expect(found[3]).toEqual(found[1]);
  const dots = new Float64Array(names);
  for (let i = 0; i < images; i++) {
    for (let w = 0; w < names; w++) {
      dots[w] = 0;
      for (let d = 0; d < width; d++) dots[w] += z[i * width + d] * h[w * width + d];
    }
    const best = dots.slice().sort().reverse().subarray(0, 3);
    const at = [...found[0].indices.subarray(3 * i, 3 * i + 3)];
    expect(new Set(at).size).toBe(3);
    // Products of about 400 in float32.
    expect(at.map(w => dots[w])).toBeAllclose(best, { atol: 5e-4, rtol: 0 });
    expect(found[0].scores.subarray(3 * i, 3 * i + 3)).toBeAllclose(best, { atol: 5e-4, rtol: 0 });
    expect(found[1].indices[i]).toBe(at[0]);
    if (at[0] < 50) expect(at[1]).toBe(at[0] + 700);
    expect(at[0] >= 700 && at[0] < 750).toBe(false);
  }
});
