/** k-means against scikit-learn's, start by start and label by label. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clusteringRecord, features, WIDTH } from '../../test/discover-goldens.ts';
import { random } from '../random.ts';
import { cluster, overClustered } from './cluster.ts';
import { type Clustering, KMeans, type LloydOptions } from './kmeans/kmeans.ts';

const [z] = features;
const row = (i: number): number[] =>
  i >= 0 ? [...z.subarray(i * WIDTH, (i + 1) * WIDTH)] : row(-i - 1).map(value => -value);

test('over-clustering rounds up what is no whole number, and nothing else', () => {
  expect([1, 1.1, 1.15, 1.2].map(multiple => overClustered(10, multiple))).toEqual([10, 11, 12, 12]);
  expect([20, 24, 100].map(kinds => overClustered(kinds, 1.15))).toEqual([23, 28, 115]);
});

describe('greedy k-means++', () => {
  test.each(clusteringRecord.plusPlus)(
    'starts from the rows scikit-learn draws, k = $k',
    async ({ k, uniform, rows }) => {
      const kmeans = new KMeans(z, WIDTH, { threads: 1 });
      let drawn = 0;
      expect([...(await kmeans.plusPlus(k, () => uniform[drawn++]))]).toEqual(rows);
      expect(drawn).toBe(uniform.length);
      await kmeans.dispose();
    },
  );
});

describe("Lloyd's algorithm", () => {
  async function from(centres: readonly number[], options?: LloydOptions): Promise<Clustering> {
    const kmeans = new KMeans(z, WIDTH, { threads: 1 });
    const found = await kmeans.from(Float32Array.from(centres.flatMap(row)), options);
    await kmeans.dispose();
    return found;
  }

  // The last two cases begin with one and with three centres that no image is near: the clusters are filled again.
  test.each(clusteringRecord.lloyd)(
    'equals scikit-learn from $start',
    async ({ start, maxIterations, ...expected }) => {
      const found = await from(start, { maxIterations });
      expect([...found.labels]).toEqual(expected.labels);
      expect(found.iterations).toBe(expected.iterations);
      // float64 on both sides; the start is rounded to float32 on ours.
      expect([found.inertia]).toBeAllclose([expected.inertia], { rtol: 1e-9 });
    },
  );

  test('centres are the means of their clusters', async () => {
    const found = await from([3, 40, 80]);
    const sums = new Float64Array(3 * WIDTH);
    const sizes = [0, 0, 0];
    found.labels.forEach((label, i) => {
      sizes[label]++;
      row(i).forEach((value, d) => {
        sums[label * WIDTH + d] += value;
      });
    });
    expect(found.centres).toBeAllclose(sums.map((total, at) => total / sizes[Math.floor(at / WIDTH)]));
  });
});

describe('cluster', () => {
  test('does not depend on threads, and the best of many starts is at least as good as one', async () => {
    const options = { k: 12, width: WIDTH, nInit: 5, seed: 3 };
    const one = await cluster(z, { ...options, threads: 1 });
    expect(await cluster(z, { ...options, threads: 2 })).toEqual(one);
    const single = await cluster(z, { ...options, nInit: 1, threads: 1 });
    expect(one.inertia).toBeLessThanOrEqual(single.inertia);
    const other = await cluster(z, { ...options, nInit: 1, seed: 4, threads: 1 });
    expect(other.inertia).not.toBe(single.inertia);
  });

  test('reports every iteration of every start', async () => {
    const seen: string[] = [];
    await cluster(z, {
      k: 4,
      width: WIDTH,
      nInit: 2,
      onProgress: p => seen.push(`${p.start}/${p.starts} ${p.iteration}`),
    });
    expect(seen[0]).toBe('1/2 1');
    expect(seen).toContain('2/2 1');
  });

  test('finds separate groups whatever their order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 2, max: 6 }), async (seed, k) => {
        const draw = random(seed, 'groups');
        const n = 4200;
        const truth = Int32Array.from({ length: n }, (_, i) => (i < k ? i : draw.int(k)));
        const data = new Float32Array(n * 8);
        truth.forEach((group, i) => {
          data[i * 8 + group] = 1;
          for (let d = 0; d < 8; d++) data[i * 8 + d] += 0.02 * draw.normal();
        });
        const { labels } = await cluster(data, { k, width: 8, nInit: 2, seed });
        const pairs = new Set(truth.map((group, i) => group * 100 + labels[i]));
        expect(pairs.size).toBe(k);
      }),
      { numRuns: 4, seed: 1 },
    );
  });

  test('images that are all alike form one cluster and leave the others empty', async () => {
    const same = new Float32Array(10 * 4).fill(0.5);
    const { labels, inertia } = await cluster(same, { k: 3, width: 4, nInit: 2 });
    expect(new Set(labels).size).toBe(1);
    expect(inertia).toBeCloseTo(0, 12);
  });

  test('as many clusters as images gives each its own', async () => {
    const { labels } = await cluster(z.slice(0, 9 * WIDTH), { k: 9, width: WIDTH, nInit: 1 });
    expect(new Set(labels).size).toBe(9);
  });

  test('says in one line what cannot be clustered', async () => {
    const few = z.slice(0, 5 * WIDTH);
    await expect(cluster(few, { k: 6, width: WIDTH })).rejects.toThrow('cannot form 6 clusters from 5 images');
    await expect(cluster(few, { k: 0, width: WIDTH })).rejects.toThrow('cannot form 0 clusters');
    await expect(cluster(few, { k: 2, width: 33 })).rejects.toThrow('160 values are not one or more rows of 33');
    await expect(cluster(new Float32Array(0), { k: 2, width: 4 })).rejects.toThrow('0 values');
    few[WIDTH + 3] = Number.NaN;
    await expect(cluster(few, { k: 2, width: WIDTH })).rejects.toThrow('image 1');
  });
});
