/** The neighbour graph against the plain way to make it, and on clusters. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { random } from '../random.ts';
import { graphOf, neighbourGraph } from './neighbours.ts';
import { rowsOf } from './row-pass.ts';

const seeded = { seed: 20, numRuns: 60 };

/** Edges as a map, added up one by one. */
function plainEdges(chosen: Int32Array, cosines: Float32Array, count: number): Map<number, number>[] {
  const images = chosen.length / count;
  const rows = Array.from({ length: images }, () => new Map<number, number>());
  chosen.forEach((j, at) => {
    const i = Math.floor(at / count);
    if (j < 0 || j === i || !(cosines[at] > 0)) return;
    rows[i].set(j, (rows[i].get(j) ?? 0) + cosines[at] / 2);
    rows[j].set(i, (rows[j].get(i) ?? 0) + cosines[at] / 2);
  });
  return rows;
}

test('the graph of any choices: neighbours by rising index, rows that sum to 1, as added up one by one', () => {
  const choices = fc.integer({ min: 2, max: 12 }).chain(images =>
    fc.record({
      lists: fc.array(fc.uniqueArray(fc.integer({ min: -1, max: images - 1 }), { minLength: 3, maxLength: 3 }), {
        minLength: images,
        maxLength: images,
      }),
      cosines: fc.array(fc.integer({ min: -2, max: 10 }), { minLength: images * 3, maxLength: images * 3 }),
    }),
  );
  fc.assert(
    fc.property(choices, ({ lists, cosines: tenths }) => {
      const chosen = Int32Array.from(lists.flat());
      const cosines = Float32Array.from(tenths, value => value / 10);
      const { start, to, weight } = graphOf(chosen, cosines, 3);
      plainEdges(chosen, cosines, 3).forEach((row, i) => {
        const [from, end] = [start[i], start[i + 1]];
        expect([...to.subarray(from, end)]).toEqual([...row.keys()].sort((a, b) => a - b));
        const sum = [...row.values()].reduce((a, b) => a + b, 0);
        for (let e = from; e < end; e++) expect(weight[e]).toBeCloseTo(row.get(to[e])! / sum, 5);
      });
    }),
    seeded,
  );
});

const onCircle = (angles: readonly number[]): Float32Array =>
  Float32Array.from(angles.flatMap(a => [Math.cos((a * Math.PI) / 180), Math.sin((a * Math.PI) / 180)]));

async function listsOf(angles: readonly number[], options: object): Promise<number[][]> {
  const { start, to } = await neighbourGraph(onCircle(angles), { width: 2, threads: 1, count: 1, ...options });
  return angles.map((_, i) => [...to.subarray(start[i], start[i + 1])]);
}

test('neighbours by cosine, of all images or of the clusters nearby', async () => {
  const angles = [0, 1, 3, 40, 41, 43, 44.5];
  const clusters = Int32Array.of(5, 5, 9, 9, 7, 7, 7);
  const all = [[1], [0, 2], [1], [4], [3], [6], [5]];
  expect(await listsOf(angles, {})).toEqual(all);
  expect(await listsOf(angles, { clusters })).toEqual(all);
  // Three clusters are all next to each other.
  expect(await listsOf(angles, { clusters, most: 3 })).toEqual(all);
});

test('neighbours are looked for in the nearest four clusters only', async () => {
  // Clusters 0 to 5 lie at rising angles, but image 1 of cluster 0 has strayed to the last of them.
  const angles = [0, 100, 1, 20, 21, 40, 41, 60, 61, 80, 81, 101];
  const clusters = Int32Array.of(0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5);
  expect((await listsOf(angles, { clusters }))[1]).toEqual([11]);
  const near = await listsOf(angles, { clusters, most: 3 });
  // Its cluster's mean points to 33°: the cluster at 101° is the farthest of the others and is left out, so that image 1
  // chooses 10; that 11, whose four nearest are not the same, chooses 1 is an edge all the same.
  expect(near[1]).toEqual([10, 11]);
  expect(near[3]).toEqual([4]);
});

test('rows of a file give the graph of a matrix; a cluster may have fewer images than neighbours', async () => {
  const draw = random(3, 'neighbours');
  const features = Float32Array.from({ length: 40 * 8 }, () => draw.normal());
  const clusters = Int32Array.from({ length: 40 }, (_, i) => (i < 2 ? 9 : i % 3));
  const options = { width: 8, threads: 1, count: 4, clusters, most: 10 };
  const rows = rowsOf(features, 8, 'features');
  const graph = await neighbourGraph({ ...rows, read: (a, b) => rows.read(a, b) }, options);
  expect(graph).toEqual(await neighbourGraph(features, options));
  // Four clusters are all next to each other.
  expect(graph).toEqual(await neighbourGraph(features, { width: 8, threads: 1, count: 4 }));
});
