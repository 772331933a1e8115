/** Operators that are spelled in more than one way: where each stands, and that they say the same. */
import { expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';
import { onnxGraph } from './onnx.ts';

const x = e.input('x', 'float32', [997, 24]);
const rows = e.program({ y: e.sum(x, { axes: [0] }) });
const typesOf = (...[program, options]: Parameters<typeof onnxGraph>): string[] =>
  onnxGraph(program, options).nodes.map(({ type }) => type);

it('a sum of rows is a product with ones where a runtime has fast products of vectors', () => {
  expect(typesOf(rows)).toEqual(['MatMul']);
  expect(typesOf(rows, { cuda: true })).toEqual(['MatMul']);
  for (const options of [{ webgpu: true }, { standard: true }, { free: [{ extent: 997, name: 'batch' }] }]) {
    expect(typesOf(rows, options)).toEqual(['ReduceSum']);
  }
  expect(typesOf(e.program({ y: e.sum(x, { axes: [1] }) }))).toEqual(['ReduceSum']);
  // What is broadcast over the first axes has such a gradient, whatever their number.
  const b = e.input('b', 'float32', [12]);
  const [bias] = e.gradient(e.sum(e.square(e.add(e.reshape(x, [997, 2, 12]), b))), [b]);
  expect(typesOf(e.program({ bias }))).toContain('MatMul');
});

it('sums of rows are those in float64', async () => {
  const session = await e.compile(rows, { threads: 2 });
  const draw = random(2, 'sums of rows');
  const values = Float32Array.from({ length: 997 * 24 }, () => draw.normal() + 1);
  const { y } = await session.run({ x: values });
  await session.dispose();
  const exact = Array.from({ length: 24 }, (_, column) =>
    values.reduce((sum, value, i) => (i % 24 === column ? sum + value : sum), 0),
  );
  expect(y as Float32Array).toBeAllclose(exact, { rtol: 1e-6 });
});
