/** Which scalars of a program for WebGPU the processor computes. */
import { expect, it } from 'vitest';
import { hostNames, hostScalars } from './host-scalars.ts';
import * as e from './index.ts';
import { onnxGraph } from './onnx.ts';
import { planOf } from './session-plan.ts';

const rate = e.input('rate', 'float32', []);
const x = e.input('x', 'float32', [5]);

it('are those that are fed or kept and on their way into float64', () => {
  const count = e.add(e.state('count', []), 1);
  const slow = e.mul(rate, 0.5);
  const graph = e.program({
    a: e.mul(x, e.cast(e.exp(e.mul(e.cast(e.mul(slow, count), 'float64'), 2)), 'float32')),
    // Stays on the GPU: it goes into nothing that the GPU lacks.
    b: e.mul(x, e.mul(rate, 3)),
  });
  expect([...hostScalars(graph)].map(({ operator }) => operator).sort()).toEqual(['Add', 'Mul', 'Mul']);
});

it('are none that come from arrays, which are on the GPU', () => {
  expect(hostScalars(e.program({ y: e.cast(e.add(e.sum(x), rate), 'float64') })).size).toBe(0);
});

it('are told to ONNX Runtime by the names of their nodes', async () => {
  const parameters = { w: e.state('w', [5, 4]), v: e.state('v', [3]) };
  const scale = (name: string): number => (name === 'w' ? 0.5 : 0.25);
  const updates = e.adamW(parameters, parameters, rate, e.input('step', 'float32', []), { scale });
  const graph = e.program(updates);
  const names = hostNames(graph);
  expect(names).toHaveLength(2);
  const named = onnxGraph(graph, { webgpu: true }).nodes.filter(({ name }) => name !== undefined);
  expect(named.map(({ name, type }) => [name, type])).toEqual(names.map(name => [name, 'Mul']));
  const plan = await planOf(graph, 'webgpu', {});
  expect(plan.options.executionProviders).toEqual([{ name: 'webgpu', forceCpuNodeNames: names }, 'cpu']);
  expect((await planOf(graph, 'cuda', {})).options.executionProviders).toEqual(['cuda', 'cpu']);
  expect((await planOf(e.program({ y: e.neg(x) }), 'webgpu', {})).options.executionProviders).toEqual([
    'webgpu',
    'cpu',
  ]);
});
