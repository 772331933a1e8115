/** Silhouettes against scikit-learn's, and the search for their peak. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clusteringRecord, features, WIDTH } from '../../test/discover-goldens.ts';
import { random } from '../random.ts';
import { estimateK, searchPeak } from './estimate-k.ts';
import { Silhouettes } from './silhouette.ts';

const [z] = features;

describe('silhouettes', () => {
  test('the means equal scikit-learn', async () => {
    const silhouettes = await Silhouettes.of(z, WIDTH, { threads: 1 });
    for (const { labels, mean } of clusteringRecord.silhouettes) {
      const samples = await silhouettes.samples(Int32Array.from(labels));
      // Distances in float32.
      expect([samples.reduce((a, b) => a + b) / samples.length]).toBeAllclose([mean], { atol: 1e-6 });
    }
    await silhouettes.dispose();
  });

  test('so does every image, one of them alone in its cluster', async () => {
    const { labels, samples } = clusteringRecord.silhouettes.find(record => record.samples)!;
    const silhouettes = await Silhouettes.of(z, WIDTH, { threads: 1 });
    const found = await silhouettes.samples(Int32Array.from(labels));
    expect(found).toBeAllclose(samples!, { atol: 2e-6 });
    expect(found[17]).toBe(0);
    await silhouettes.dispose();
  });

  test('some images may be judged, each against all', async () => {
    const { labels, samples } = clusteringRecord.silhouettes.find(record => record.samples)!;
    const judged = Int32Array.of(3, 17, 120, 121, 299);
    const silhouettes = await Silhouettes.of(z, WIDTH, { threads: 1, judged });
    const found = await silhouettes.samples(Int32Array.from(labels));
    expect(found).toBeAllclose(
      [...judged].map(i => samples![i]),
      { atol: 2e-6 },
    );
    await silhouettes.dispose();
  });

  test('one cluster, or as many as images, has none', async () => {
    const silhouettes = await Silhouettes.of(z.slice(0, 4 * WIDTH), WIDTH, { threads: 1 });
    await expect(silhouettes.samples(Int32Array.of(1, 1, 1, 1))).rejects.toThrow('1 clusters of 4 images');
    await expect(silhouettes.samples(Int32Array.of(0, 1, 2, 3))).rejects.toThrow('4 clusters of 4 images');
    await expect(silhouettes.samples(Int32Array.of(0, 1))).rejects.toThrow('2 labels for 4 images');
    await silhouettes.dispose();
  });
});

test('the search finds the peak of a function that rises and falls, in few steps', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 100 }), fc.nat(2000), fc.nat(2000), async (low, size, offset) => {
      const high = low + size;
      const peak = low + (offset % (size + 1));
      const asked = new Set<number>();
      const found = await searchPeak(low, high, async k => {
        expect(k).toBeGreaterThanOrEqual(low);
        expect(k).toBeLessThanOrEqual(high);
        asked.add(k);
        return -Math.abs(k - peak) * (k < peak ? 1 : 0.3);
      });
      expect(found).toBe(peak);
      expect(asked.size).toBeLessThanOrEqual(6 + 2 * Math.ceil(Math.log2(size + 2)));
    }),
    { seed: 1 },
  );
});

describe('estimate of k', () => {
  const groups = (k: number, n: number): Float32Array => {
    const draw = random(5, 'blobs', k);
    const centres = Array.from({ length: k }, () => Array.from({ length: 24 }, () => draw.normal()));
    return Float32Array.from(
      Array.from({ length: n }, (_, i) => {
        const row = centres[i % k].map(value => value + 0.35 * draw.normal());
        return row.map(value => value / Math.hypot(...row));
      }).flat(),
    );
  };

  test('finds the number of well separated groups, and reports rounds and curve', async () => {
    const points: number[] = [];
    const options = { width: 24, low: 2, high: 60, nInit: 5, onProgress: (p: { k: number }) => points.push(p.k) };
    const { k, rounds, curve } = await estimateK(groups(18, 540), options);
    expect(k).toBe(18);
    expect(rounds.length).toBe(3);
    expect(rounds[2]).toBe(k);
    expect(new Set(points).size).toBe(points.length);
    expect(curve.map(point => point.k)).toEqual([...points].sort((a, b) => a - b));
    const best = curve.reduce((a, b) => (b.silhouette > a.silhouette ? b : a));
    expect(best.k).toBe(18);
  });

  test('looks at a seeded sample of many images', async () => {
    const options = { width: 24, low: 2, high: 20, sample: 150, seed: 2 };
    const first = await estimateK(groups(6, 900), options);
    expect(first.k).toBe(6);
    expect(await estimateK(groups(6, 900), options)).toEqual(first);
  });

  test('a part of the silhouettes gives the same number as all of them', async () => {
    for (const seed of [1, 2, 3]) {
      const options = { width: 24, low: 2, high: 40, nInit: 3, seed };
      const rows = groups(9 + seed, 1200);
      const [part, all] = [
        await estimateK(rows, { ...options, judged: 300 }),
        await estimateK(rows, { ...options, judged: 1200 }),
      ];
      expect(part.k).toBe(all.k);
      expect(all.k).toBe(9 + seed);
      expect(part.curve.map(({ silhouette }) => silhouette)).not.toEqual(all.curve.map(({ silhouette }) => silhouette));
    }
  });

  test('says when the images are too few for the range, which may be one number', async () => {
    const { k, verdict } = await estimateK(z.slice(0, 4 * WIDTH), { width: WIDTH, low: 2 });
    expect([k, verdict.flat, verdict.edge]).toEqual([2, true, true]);
    await expect(estimateK(z, { width: WIDTH, low: 200 })).rejects.toThrow('200 to 150 clusters in 300 images');
  });
});
