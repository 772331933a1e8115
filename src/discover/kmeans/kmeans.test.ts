/** Skipping must not show: labels against comparing everything, whatever the number of threads, and sums that are exact. */
import { describe, expect, test } from 'vitest';
import { random } from '../../random.ts';
import { groupOrder } from './groups.ts';
import { KMeans } from './kmeans.ts';

/** Unit rows around centres that are nearer to each other than to most of their rows. */
function mixture(seed: number, n: number, width: number, k: number, noise: number): Float32Array {
  const draw = random(seed, 'mixture');
  const means = Float64Array.from({ length: k * width }, () => draw.normal());
  const rows = new Float32Array(n * width);
  for (let i = 0; i < n; i++) {
    const mean = draw.int(k) * width;
    const row = Array.from({ length: width }, (_, d) => means[mean + d] + 1 + noise * draw.normal());
    const length = Math.hypot(...row);
    rows.set(
      row.map(value => value / length),
      i * width,
    );
  }
  return rows;
}

/** For every image how much farther its centre is than the nearest, in squared distance. */
function regrets(rows: Float32Array, width: number, centres: Float32Array, labels: Int32Array): Float64Array {
  return Float64Array.from(labels, (label, i) => {
    let [own, least] = [0, Number.POSITIVE_INFINITY];
    for (let c = 0; c < centres.length / width; c++) {
      let distance = 0;
      for (let d = 0; d < width; d++) distance += (rows[i * width + d] - centres[c * width + d]) ** 2;
      if (c === label) own = distance;
      least = Math.min(least, distance);
    }
    return own - least;
  });
}

describe('labels are those of the nearest centres', () => {
  // Enough images for the filter; noise that leaves clusters apart, that mixes them, and that hides them.
  test.each([
    { noise: 0.3, k: 21, iterations: 100 },
    { noise: 1.5, k: 50, iterations: 9 },
    { noise: 8, k: 9, iterations: 5 },
  ])('noise $noise, $k clusters', async ({ noise, k, iterations }) => {
    const [n, width] = [5000, 20];
    const rows = mixture(k, n, width, 20, noise);
    const kmeans = new KMeans(rows, width);
    const start = rows.slice(0, k * width);
    const compared: number[] = [];
    const onIteration = (_: number, __: number, share: number): number => compared.push(share);
    for (let most = 0; most <= iterations; most += Math.ceil(iterations / 4)) {
      compared.length = 0;
      const { labels, centres, inertia } = await kmeans.from(start, { maxIterations: most, tolerance: 0, onIteration });
      // 1e-6: products in float32 of unit rows.
      expect(Math.max(...regrets(rows, width, centres, labels))).toBeLessThan(1e-6);
      let total = 0;
      labels.forEach((label, i) => {
        for (let d = 0; d < width; d++) total += (rows[i * width + d] - centres[label * width + d]) ** 2;
      });
      // Centres are rounded to float32 in the one and not in the other.
      expect([inertia]).toBeAllclose([total], { rtol: 1e-6 });
    }
    // The bounds are of use where there are clusters.
    if (noise < 1) expect(compared.at(-1)).toBeLessThan(0.2);
    await kmeans.dispose();
  });
});

test('neither threads nor what was computed before show in a result', async () => {
  const [n, width, k] = [10_000, 112, 40];
  const rows = mixture(7, n, width, 30, 0.8);
  const results = [];
  for (const threads of [1, 2, 3]) {
    const kmeans = new KMeans(rows, width, { threads });
    const drawn = await kmeans.plusPlus(k, random(1, 'draws').next);
    if (threads === 2) await kmeans.from(rows.slice(0, 7 * width), { maxIterations: 3 });
    const found = await kmeans.from(await kmeans.rows(drawn));
    results.push({ drawn, found });
    await kmeans.dispose();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
  expect(Math.max(...regrets(rows, width, results[0].found.centres, results[0].found.labels))).toBeLessThan(1e-6);
});

test('rows are read in blocks and need not be in memory', async () => {
  const [n, width] = [3000, 16];
  const rows = mixture(3, n, width, 5, 0.5);
  let read = 0;
  const kmeans = new KMeans(
    {
      count: n,
      width,
      read(start, end) {
        read += end - start;
        return Promise.resolve(rows.slice(start * width, end * width));
      },
    },
    width,
  );
  const whole = new KMeans(rows, width);
  const start = rows.slice(0, 5 * width);
  expect(await kmeans.from(start)).toEqual(await whole.from(start));
  expect(read).toBe(n);
  await kmeans.dispose();
  await whole.dispose();
});

test('groups hold every centre once, near ones together', () => {
  const [k, width] = [22, 3];
  // Pairs of neighbours on a line.
  const centres = Float32Array.from({ length: k * width }, (_, at) => (at % width === 0 ? at * 7 : 0));
  const order = groupOrder(centres, width);
  expect(order.length).toBe(24);
  expect([...order].filter(centre => centre >= 0).sort((a, b) => a - b)).toEqual([...Array(k).keys()]);
  for (let slot = 0; slot + 4 <= order.length; slot += 4) {
    const members = [...order.subarray(slot, slot + 4)].filter(centre => centre >= 0);
    expect(Math.max(...members) - Math.min(...members)).toBe(members.length - 1);
  }
});

test('a clustering that was disposed says so', async () => {
  const kmeans = new KMeans(mixture(1, 50, 4, 2, 1), 4);
  await kmeans.dispose();
  await expect(kmeans.plusPlus(2, () => 0.5)).rejects.toThrow('disposed');
});
