/** Margins and best names of labels, by hand. */
import { expect, test } from 'vitest';
import { neighbourGraph } from '../discover/neighbours.ts';
import { trustOf } from './trust.ts';

test('the best names, and how far the label is from the best other one', async () => {
  const features = Float32Array.of(1, 0, 0.8, 0.6, 0, 1);
  const prototypes = Float32Array.of(1, 0, 0, 1);
  const labels = Int32Array.of(0, 1, -1);
  const graph = await neighbourGraph(features, { width: 2, count: 2, threads: 1 });
  const options = { width: 2, scale: 2, graph, threads: 1 };
  const { top, names, probabilities, margin, confidence } = await trustOf(features, prototypes, labels, options);
  const share = (gap: number): number => 1 / (1 + Math.exp(-2 * gap));
  expect(top).toBe(2);
  expect([...names]).toEqual([0, 1, 0, 1, 1, 0]);
  expect(probabilities.filter((_, i) => i % 2 === 0)).toBeAllclose([share(1), share(0.2), share(1)], { rtol: 1e-5 });
  // The second image is nearer to the name that it does not have.
  expect(margin).toBeAllclose([2 * share(1) - 1, 1 - 2 * share(0.2), 0], { rtol: 1e-4 });
  expect(confidence[0]).toBeGreaterThan(confidence[1]);
  expect(confidence[2]).toBe(0);
});
