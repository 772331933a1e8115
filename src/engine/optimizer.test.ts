/** Optimizer fragments; AdamW, clipping and the moving average together stand against PyTorch in test/engine-vit.test.ts. */
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';

const scalarInput = (name: string): e.Tensor => e.input(name, 'float32', []);

/** AdamW in float64, as Loshchilov & Hutter's algorithm 2 has it. */
function reference(start: number[], gradients: number[][], rate: number, decay: number): number[] {
  const m = start.map(() => 0);
  const v = start.map(() => 0);
  let w = [...start];
  gradients.forEach((g, i) => {
    w = w.map((value, j) => {
      m[j] = 0.9 * m[j] + 0.1 * g[j];
      v[j] = 0.999 * v[j] + 0.001 * g[j] ** 2;
      const step = m[j] / (1 - 0.9 ** (i + 1)) / (Math.sqrt(v[j] / (1 - 0.999 ** (i + 1))) + 1e-8);
      return value - rate * (step + decay * value);
    });
  });
  return w;
}

describe('AdamW', () => {
  it.each([
    ['by a kernel', false],
    ['as nodes of the graph', true],
  ])('follows the paper %s; matrices decay, vectors do not; a layer has its own rate', async (_, lean) => {
    const weights = {
      matrix: e.state('matrix', [1, 4]),
      vector: e.state('vector', [4]),
      slow: e.state('slow', [1, 4]),
    };
    const gradients = Object.fromEntries(
      Object.entries(weights).map(([name, w]) => [name, e.input(`g.${name}`, 'float32', w.shape)]),
    );
    const updated = e.adamW(weights, gradients, scalarInput('rate'), scalarInput('step'), {
      weightDecay: 0.1,
      scale: name => (name === 'slow' ? 0.25 : 1),
    });
    const session = await e.compile(e.program(updated), { threads: 1, lean });
    const start = [0.5, -1, 2, 0.01];
    await session.setState(Object.fromEntries(Object.keys(weights).map(name => [name, Float32Array.from(start)])));
    const r = random(7, 'adamw-test');
    const steps = Array.from({ length: 30 }, () => start.map(() => Math.fround(r.normal() * 10 ** r.uniform(-4, 1))));
    for (const [i, g] of steps.entries()) {
      const fed = Object.keys(weights).map(name => [`g.${name}`, Float32Array.from(g)]);
      await session.run({ ...Object.fromEntries(fed), rate: Float32Array.of(0.01), step: Float32Array.of(i + 1) });
    }
    const end = await session.getState(Object.keys(weights));
    await session.dispose();
    // Thirty float32 updates of weights of size 1, each rounding by 6e-8.
    const near = { rtol: 1e-6, atol: 2e-6 };
    expect(end.matrix as Float32Array).toBeAllclose(reference(start, steps, 0.01, 0.1), near);
    expect(end.vector as Float32Array).toBeAllclose(reference(start, steps, 0.01, 0), near);
    expect(end.slow as Float32Array).toBeAllclose(reference(start, steps, 0.0025, 0.1), near);
  });

  it('of a parameter without its gradient, or of numbers, is one clear line', () => {
    const weights = { a: e.state('a', [3]), b: e.state('b', [3]) };
    const [rate, step] = [scalarInput('rate'), scalarInput('step')];
    const missing = { a: e.neg(weights.a) };
    expect(() => e.adamW(weights, missing, rate, step)).toThrow("adamW: 'b' of [3] has no gradient");
    const wide = { ...missing, b: e.input('g', 'float32', [1, 3]) };
    expect(() => e.adamW(weights, wide, rate, step)).toThrow("adamW: 'b' of [3] has a gradient of [1, 3]");
    expect(() => e.adamW({ a: weights.a }, missing, 0.1 as never, step)).toThrow(
      'adamW of the number 0.1: tensors are',
    );
    expect(() => e.ema(weights, missing, rate)).toThrow("ema: 'b' of [3] has no value");
  });

  it.each([
    ['by a kernel', false],
    ['as nodes of the graph', true],
  ])('small vectors of one kind and a large one move as each alone, %s', async (_, lean) => {
    const weights = { a: e.state('a', [3]), b: e.state('b', [5]), large: e.state('large', [20000]) };
    const inputs = Object.fromEntries(
      Object.entries(weights).map(([name, w]) => [name, e.input(`g.${name}`, 'float32', w.shape)]),
    );
    const graph = e.program(e.adamW(weights, inputs, scalarInput('rate'), scalarInput('step')));
    expect(graph.nodes.filter(node => node.operator === 'Sqrt' && node.outputs[0].shape.length > 0)).toHaveLength(2);
    const session = await e.compile(graph, { threads: 1, lean });
    const gradientOf = (size: number, step: number) =>
      Array.from({ length: size }, (_, i) => Math.sin(i * step + size));
    for (let step = 1; step <= 3; step++) {
      const fed = Object.entries(weights).map(
        ([name, { shape }]) => [`g.${name}`, gradientOf(shape[0], step)] as const,
      );
      await session.run({
        ...Object.fromEntries(fed.map(([name, g]) => [name, Float32Array.from(g)])),
        rate: Float32Array.of(0.01),
        step: Float32Array.of(step),
      });
    }
    const end = await session.getState(Object.keys(weights));
    await session.dispose();
    for (const [name, { shape }] of Object.entries(weights)) {
      const start = Array.from({ length: shape[0] }, () => 0);
      const expected = reference(
        start,
        [1, 2, 3].map(step => gradientOf(shape[0], step)),
        0.01,
        0,
      );
      expect(end[name] as Float32Array, name).toBeAllclose(expected, { rtol: 1e-5, atol: 1e-7 });
    }
  });

  it('corrects its bias precisely at step 1, where 1 − 0.999 has few digits in float32', async () => {
    const w = e.state('w', [1]);
    const updated = e.adamW({ w }, { w: e.input('g', 'float32', [1]) }, scalarInput('rate'), scalarInput('step'));
    const session = await e.compile(e.program(updated), { threads: 1 });
    await session.run({ g: Float32Array.of(3), rate: Float32Array.of(1), step: Float32Array.of(1) });
    const { w: moved } = await session.getState(['w']);
    await session.dispose();
    // The first step has the length of the rate, whatever the gradient.
    expect(moved[0]).toBeCloseTo(-1, 6);
  });
});

describe('clipping', () => {
  it.each([
    ['above the limit', [3, 4], 12, 13],
    ['below the limit', [0.03, 0.04], 0.12, 0.13],
    ['of zeros', [0, 0], 0, 0],
  ])('%s', async (_, a, b, norm) => {
    const inputs = { a: e.input('a', 'float32', [2]), b: e.input('b', 'float32', []) };
    const clipped = e.clipGradients(inputs, 6.5);
    const session = await e.compile(e.program({ ...named(clipped.gradients), norm: clipped.norm }), { threads: 1 });
    const result = await session.run({ a: Float32Array.from(a), b: Float32Array.of(b) });
    await session.dispose();
    const factor = Math.min(1, 6.5 / (norm + 1e-6));
    expect(result.norm as Float32Array).toBeAllclose([norm]);
    expect(result['clipped.a'] as Float32Array).toBeAllclose(a.map(value => value * factor));
    expect(result['clipped.b'] as Float32Array).toBeAllclose([b * factor]);
  });
});

describe('the moving average', () => {
  it('takes its decay at every step', async () => {
    const averages = { 'average.w': e.state('average.w', [2]) };
    const w = e.input('w', 'float32', [2]);
    const session = await e.compile(e.program(e.ema(averages, { 'average.w': w }, scalarInput('decay'))), {
      threads: 1,
    });
    await session.setState({ 'average.w': Float32Array.of(1, -1) });
    let expected = [1, -1];
    for (const [decay, value] of [
      [0.9, 5],
      [0.5, -2],
      [1, 100],
      [0, 0.25],
    ]) {
      await session.run({ w: Float32Array.of(value, 2 * value), decay: Float32Array.of(decay) });
      expected = expected.map((average, i) => decay * average + (1 - decay) * value * (i + 1));
      expect((await session.getState())['average.w'] as Float32Array).toBeAllclose(expected);
    }
    await session.dispose();
  });
});

describe('accumulation', () => {
  it('of four micro-batches equals one batch four times as large, step after step', async () => {
    const [micro, count, features] = [2, 4, 5];
    const lossOf = (rows: number): { loss: e.Tensor; w: e.Tensor } => {
      const x = e.input('x', 'float32', [rows, features]);
      const w = e.state('w', [features, 3]);
      const labels = e.input('labels', 'int32', [rows]);
      return { loss: e.mean(e.crossEntropy(e.matMul(x, w), labels)), w };
    };
    const whole = lossOf(micro * count);
    const rate = scalarInput('rate');
    const direct = await e.compile(
      e.program({ w: e.sub(whole.w, e.mul(e.gradient(whole.loss, [whole.w])[0], rate)) }),
      { threads: 1 },
    );
    const part = lossOf(micro);
    const [dw] = e.gradient(e.div(part.loss, count), [part.w]);
    const sums = e.accumulate({ w: dw }, scalarInput('keep'));
    // A rate of 0 only accumulates.
    const updated = e.sub(part.w, e.mul(sums['accumulated.w'], rate));
    const piecewise = await e.compile(e.program({ ...sums, w: updated }), { threads: 1 });

    const r = random(3, 'accumulation-test');
    for (let step = 0; step < 3; step++) {
      const x = Float32Array.from({ length: micro * count * features }, () => r.normal());
      const labels = Int32Array.from({ length: micro * count }, () => r.int(3));
      await direct.run({ x, labels, rate: Float32Array.of(0.5) });
      for (let i = 0; i < count; i++) {
        await piecewise.run({
          x: x.subarray(i * micro * features, (i + 1) * micro * features),
          labels: labels.subarray(i * micro, (i + 1) * micro),
          keep: Float32Array.of(i === 0 ? 0 : 1),
          rate: Float32Array.of(i === count - 1 ? 0.5 : 0),
        });
      }
      const [expected, ours] = [await direct.getState(['w']), await piecewise.getState(['w'])];
      expect(ours.w as Float32Array).toBeAllclose(expected.w as Float32Array, { rtol: 1e-5, atol: 1e-6 });
      expect(Math.max(...(ours.w as Float32Array))).toBeGreaterThan(0.01);
    }
    await Promise.all([direct.dispose(), piecewise.dispose()]);
  });
});

const named = (tensors: e.Tensors): e.Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`clipped.${name}`, tensor]));
