/** What a step is told of the structural labels. */
import { expect, test } from 'vitest';
import { add, input, program } from '../engine/index.ts';
import { feedsOf, labelsFor } from './feeds.ts';

const names = input('instanceNames', 'float32', [5]);
const graph = program({ sum: add(names, names) });
const batch = { indices: Int32Array.of(2, 0), inputs: {}, failed: [] };

test('the teacher may give the names that some image has as its structural label', () => {
  const labels = labelsFor(graph, Int32Array.of(3, -1, 1, 3));
  const { instanceNames, structural } = feedsOf(batch, labels, 3, graph, {});
  expect(Array.from(instanceNames as Float32Array, value => value === 0)).toEqual([false, true, false, true, false]);
  // So far below that no softmax over scaled cosines sees it, and finite, so that it has a place in float16 too.
  expect(Math.min(...(instanceNames as Float32Array))).toBeGreaterThan(-65_504);
  expect(Math.exp((instanceNames as Float32Array)[0] + 2 * 118)).toBe(0);
  expect(structural).toEqual(Int32Array.of(1, 3, -1));
});

test('and all names where no image has one, or where the graph does not ask', () => {
  expect(labelsFor(graph, Int32Array.of(-1, -1)).instanceNames).toEqual(new Float32Array(5));
  const plain = program({ twice: add(input('x', 'float32', [2]), 1) });
  expect(feedsOf(batch, labelsFor(plain, Int32Array.of(3, 1, 1)), 2, plain, {})).not.toHaveProperty('instanceNames');
});
