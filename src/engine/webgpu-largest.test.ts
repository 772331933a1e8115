/** The largest entry of a row as WebGPU gets it, computed by the CPU provider. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';
import { onnxGraph, toOnnx } from './onnx.ts';

const [ROWS, NAMES] = [50, 37];
const { values, indices } = e.topK(e.input('x', 'float32', [ROWS, NAMES]), 1);

it('is the first of equals, without a sort and without 64 bits', async () => {
  const graph = e.program({ values, indices });
  const { nodes, constants } = onnxGraph(graph, { webgpu: true });
  expect(nodes.map(({ type }) => type)).toEqual(['ReduceMax', 'Equal', 'Where', 'ReduceMin', 'Cast']);
  expect(constants.filter(({ type }) => type === 'int64').map(({ shape }) => shape)).toEqual([[1]]);
  const draw = random(3, 'largest entries');
  // Few values, so that most rows have several largest.
  const x = Float32Array.from({ length: ROWS * NAMES }, () => Math.floor(draw.uniform(-6, 6)));
  const session = await InferenceSession.create(toOnnx(graph, { webgpu: true }));
  const made = await session.run({ x: new Tensor('float32', x, [ROWS, NAMES]) });
  await session.release();
  const rows = Array.from({ length: ROWS }, (_, i) => [...x.subarray(i * NAMES, (i + 1) * NAMES)]);
  expect([...(made.values.data as Float32Array)]).toEqual(rows.map(row => Math.max(...row)));
  expect([...(made.indices.data as Int32Array)]).toEqual(rows.map(row => row.indexOf(Math.max(...row))));
  expect(made.indices.dims).toEqual([ROWS, 1]);
});

it('has no position where nobody asks for it', () => {
  const { nodes } = onnxGraph(e.program({ values }), { webgpu: true });
  expect(nodes.map(({ type }) => type)).toEqual(['ReduceMax']);
});

it('leaves values that are cast what they are', () => {
  const { nodes } = onnxGraph(e.program({ half: e.cast(values, 'float16') }), { webgpu: true });
  expect(nodes.map(({ type }) => type)).toEqual(['ReduceMax', 'Cast']);
});
