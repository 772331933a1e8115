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

test('neighbours by cosine, of all images or of those of the same cluster', async () => {
  const angles = [0, 1, 3, 40, 41, 43, 44.5];
  const features = Float32Array.from(
    angles.flatMap(a => [Math.cos((a * Math.PI) / 180), Math.sin((a * Math.PI) / 180)]),
  );
  const lists = async (options: object): Promise<number[][]> => {
    const { start, to } = await neighbourGraph(features, { width: 2, threads: 1, count: 1, ...options });
    return angles.map((_, i) => [...to.subarray(start[i], start[i + 1])]);
  };
  expect(await lists({})).toEqual([[1], [0, 2], [1], [4], [3], [6], [5]]);
  // 2 and 3 share a cluster, so 3 is all that 2 can look at.
  const clusters = Int32Array.of(5, 5, 9, 9, 7, 7, 7);
  expect(await lists({ clusters, most: 3 })).toEqual([[1], [0], [3], [2], [5], [4, 6], [5]]);
  expect(await lists({ clusters })).toEqual(await lists({}));
});

test('rows of a file give the graph of a matrix; a cluster may have fewer images than neighbours', async () => {
  const draw = random(3, 'neighbours');
  const features = Float32Array.from({ length: 40 * 8 }, () => draw.normal());
  const clusters = Int32Array.from({ length: 40 }, (_, i) => (i < 2 ? 9 : i % 3));
  const options = { width: 8, threads: 1, count: 4, clusters, most: 10 };
  const rows = rowsOf(features, 8, 'features');
  const graph = await neighbourGraph({ ...rows, read: (a, b) => rows.read(a, b) }, options);
  expect(graph).toEqual(await neighbourGraph(features, options));
  for (let i = 0; i < 40; i++) {
    for (let e = graph.start[i]; e < graph.start[i + 1]; e++) expect(clusters[graph.to[e]]).toBe(clusters[i]);
  }
});
