/** The reverse walk: every operator has a proved rule, composites, shared tensors, and what cannot be differentiated. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Case, checkGradients } from '../../test/gradient-check.ts';
import { extent, shape, show } from '../../test/shapes.ts';
import * as e from './index.ts';
import { elementwise } from './rules/elementwise.ts';
import { rules } from './rules/index.ts';
import { layout } from './rules/layout.ts';
import { matrix } from './rules/matrix.ts';
import { layers } from './rules/nn.ts';
import { reductions } from './rules/reduce.ts';

const ints = (values: number[]): e.Tensor => e.constant(Int32Array.from(values), [values.length]);

const sequence = fc.record({ batch: extent, length: extent, width: fc.integer({ min: 4, max: 6 }) });

const composites: Record<string, fc.Arbitrary<Case>> = {
  linear: fc.tuple(shape(0, 2), extent, extent, fc.boolean()).map(([rows, from, to, biased]) => ({
    label: show([rows, from, to, biased]),
    shapes: [[...rows, 2, from], [to, from], ...(biased ? [[to]] : [])],
    build: ([x, w, b]) => e.linear(x, w, b),
  })),
  crossEntropy: fc
    .tuple(extent, fc.integer({ min: 2, max: 5 }), fc.array(fc.nat(), { minLength: 4, maxLength: 4 }))
    .map(([rows, names, labels]) => ({
      label: show([rows, names, labels]),
      shapes: [[rows, names]],
      build: ([x]) => e.crossEntropy(x, ints(labels.slice(0, rows).map(label => label % names))),
    })),
  maskedMean: fc.array(fc.nat(1), { minLength: 1, maxLength: 9 }).map(mask => ({
    label: show(mask),
    shapes: [[mask.length]],
    build: ([x]) => e.maskedMean(e.square(x), e.constant(Float32Array.from(mask), [mask.length])),
  })),
  patchEmbed: fc
    .record({
      n: fc.integer({ min: 1, max: 2 }),
      c: fc.integer({ min: 1, max: 2 }),
      p: fc.integer({ min: 1, max: 3 }),
      rows: fc.integer({ min: 1, max: 2 }),
      columns: fc.integer({ min: 1, max: 2 }),
      d: fc.integer({ min: 1, max: 3 }),
    })
    .map(drawn => ({
      label: show(drawn),
      shapes: [
        [drawn.n, drawn.c, drawn.rows * drawn.p, drawn.columns * drawn.p],
        [drawn.d, drawn.c, drawn.p, drawn.p],
        [drawn.d],
      ],
      build: ([x, w, b]) => e.patchEmbed(x, w, b),
    })),
  l2Normalize: fc.tuple(shape(0, 2), fc.integer({ min: 2, max: 4 })).map(([rows, width]) => ({
    label: show([rows, width]),
    shapes: [[...rows, width]],
    values: 'positive',
    build: ([x]) => e.l2Normalize(x),
  })),
  'split, its parts joined in another order': fc.tuple(extent, extent, extent).map(([a, b, rows]) => ({
    label: show([a, b, rows]),
    shapes: [[rows, a + b]],
    build: ([x]) => {
      const [left, right] = e.split(x, 1, [a, b]);
      return e.concat([e.exp(right), left, left], -1);
    },
  })),
  'layer norm twice with one weight': sequence.map(({ length, width }) => ({
    label: show([length, width]),
    shapes: [[length, width], [width], [width]],
    values: 'apart',
    build: ([x, w, b]) => e.layerNorm(e.layerNorm(x, e.add(e.mul(w, 0.1), 1), b), e.add(e.mul(w, 0.1), 1), b),
  })),
  'one tensor used in many ways': shape(1, 2).map(drawn => ({
    label: show(drawn),
    shapes: [drawn],
    build: ([x]) => e.add(e.mul(e.add(x, x), e.tanh(x)), e.sub(e.mul(x, x), e.where(e.greater(x, 10), x, e.exp(x)))),
  })),
  'attention with a mask': sequence.map(({ batch, length, width }) => ({
    label: show([batch, length, width]),
    shapes: [
      [batch, length, 4],
      [width * 3, 4],
    ],
    build: ([x, w]) => {
      // Smaller scores: a sharp softmax bends too much for the differences' step.
      const [q, k, v] = e.split(e.linear(e.mul(x, 0.25), w), -1, [width, width, width]);
      const mask = Float32Array.from({ length: length * length }, (_, i) => (i % length > i / length ? -1e9 : 0));
      const scores = e.matMul(q, k, { transB: true, alpha: width ** -0.5 });
      return e.matMul(e.softmax(e.add(scores, e.constant(mask, [length, length]))), v);
    },
  })),
};

describe('the gradient', () => {
  it('has a rule, proved in its own test, for every operator', () => {
    const proved = [elementwise, matrix, layout, reductions, layers].flatMap(table => Object.keys(table));
    expect(Object.keys(rules).sort()).toEqual(proved.sort());
  });

  for (const [name, draws] of Object.entries(composites)) {
    it(`of ${name} equals finite differences`, () => checkGradients(draws));
  }

  it('with respect to a tensor inside the graph, or the loss itself', async () => {
    const x = e.input('x', 'float32', [2]);
    const inner = e.mul(x, 3);
    const loss = e.sum(e.square(inner));
    const [dInner, dx, one] = e.gradient(loss, [inner, x, loss]);
    const session = await e.compile(e.program({ dInner, dx, one }));
    const result = await session.run({ x: Float32Array.of(1, -2) });
    await session.dispose();
    expect(result).toEqual({ dInner: Float32Array.of(6, -12), dx: Float32Array.of(18, -36), one: Float32Array.of(1) });
  });

  it('with respect to tensors by name comes by these names', async () => {
    const [x, w] = [e.input('x', 'float32', [2]), e.input('w', 'float32', [2])];
    const loss = e.sum(e.mul(e.square(x), w));
    const named = e.gradient(loss, { ofW: w, ofX: x });
    const listed = e.gradient(loss, [x, w]);
    const session = await e.compile(e.program({ ...named, first: listed[0], second: listed[1] }));
    const { ofW, ofX, ...rest } = await session.run({ x: Float32Array.of(3, -1), w: Float32Array.of(2, 5) });
    await session.dispose();
    expect([ofX, ofW]).toEqual([Float32Array.of(12, -10), Float32Array.of(9, 1)]);
    expect(rest).toEqual({ first: ofX, second: ofW });
  });

  it('with respect to what is no tensor is one clear line', () => {
    const x = e.input('x', 'float32', [2]);
    expect(() => e.gradient(e.sum(x), x as never)).toThrow('gradients are with respect to tensors');
    expect(() => e.gradient(e.sum(x), [undefined as never])).toThrow('gradients are with respect to tensors');
  });

  it('of a gradient is the second derivative', async () => {
    const x = e.input('x', 'float32', [3]);
    const [first] = e.gradient(e.sum(e.exp(e.mul(x, 2))), [x]);
    const [second] = e.gradient(e.sum(first), [x]);
    const session = await e.compile(e.program({ second }));
    const result = await session.run({ x: Float32Array.of(0, 1, -1) });
    await session.dispose();
    expect(result.second as Float32Array).toBeAllclose([4, 4 * Math.exp(2), 4 * Math.exp(-2)]);
  });

  it('in float64 has the digits of float64', async () => {
    const x = e.input('x', 'float64', [4]);
    const y = e.add(e.abs(x), e.maximum(e.square(x), e.exp(x)));
    const [dx] = e.gradient(e.add(e.sum(y), e.max(y)), [x]);
    const session = await e.compile(e.program({ dx }));
    const at = [-2.5, -0.5, 0.5, 2];
    const result = await session.run({ x: Float64Array.from(at) });
    await session.dispose();
    // The last value is the largest, so it counts twice.
    const slope = (v: number): number => Math.sign(v) + (v * v > Math.exp(v) ? 2 * v : Math.exp(v));
    expect(result.dx as Float64Array).toBeAllclose(
      at.map((v, i) => slope(v) * (i === 3 ? 2 : 1)),
      { rtol: 1e-12 },
    );
  });

  it('of batch normalisation in float64 is that of finite differences', async () => {
    const shapes = { x: [2, 2, 1, 3], w: [2], b: [2] };
    const [x, w, b] = Object.entries(shapes).map(([name, extents]) => e.input(name, 'float64', extents));
    const loss = e.sum(e.exp(e.batchNorm(x, w, b).output));
    const gradients = e.gradient(loss, { dx: x, dw: w, db: b });
    const session = await e.compile(e.program({ loss, ...gradients }), { threads: 1 });
    const feeds: Record<string, Float64Array> = {
      x: Float64Array.from({ length: 12 }, (_, i) => Math.sin(3 * i)),
      w: Float64Array.of(0.7, -1.2),
      b: Float64Array.of(0.1, 0.3),
    };
    const found = await session.run(feeds);
    for (const [name, values] of Object.entries(feeds)) {
      const slopes: number[] = [];
      for (let i = 0; i < values.length; i++) {
        const at = async (move: number): Promise<number> => {
          const moved = values.map((value, j) => (j === i ? value + move : value));
          return Number((await session.run({ ...feeds, [name]: moved })).loss[0]);
        };
        slopes.push(((await at(1e-5)) - (await at(-1e-5))) / 2e-5);
      }
      // The differences themselves are off by the square of the step and the last digits of the loss.
      expect(found[`d${name}`] as Float64Array).toBeAllclose(slopes, { rtol: 1e-7, atol: 1e-8 });
    }
    await session.dispose();
  });

  it('does not pass through selections', () => {
    const x = e.input('x', 'float32', [2, 3]);
    const loss = e.sum(e.cast(e.argMax(x), 'float32'));
    expect(() => e.gradient(loss, [x])).toThrow("the loss does not depend on 'x'");
  });

  it('of a tensor that is no scalar, or of one off the path, is one clear line', () => {
    const x = e.input('x', 'float32', [2, 3]);
    expect(() => e.gradient(x, [x])).toThrow('the gradient of a tensor of shape [2, 3]: a scalar is needed');
    expect(() => e.gradient(e.sum(x), [e.input('w', 'float32', [1])])).toThrow("the loss does not depend on 'w'");
    expect(() => e.gradient(e.sum(x), [x, e.neg(x)])).toThrow('does not depend on tensor 1 of shape [2, 3]');
  });

  it('adds nothing to a graph that is not asked for', () => {
    const x = e.input('x', 'float32', [2, 3]);
    const w = e.input('w', 'float32', [3, 4]);
    const loss = e.sum(e.matMul(x, w));
    const before = e.sortNodes([loss]).length;
    const [dw] = e.gradient(loss, [w]);
    expect(e.sortNodes([loss])).toHaveLength(before);
    // One product, and the ones it starts from: no gradient of x.
    expect(e.sortNodes([dw]).filter(node => node.operator === 'Gemm')).toHaveLength(1);
  });

  it('walks graphs deeper than the call stack', () => {
    const x = e.input('x', 'float32', []);
    let y: e.Tensor = x;
    for (let i = 0; i < 50_000; i++) y = e.neg(y);
    expect(e.gradient(y, [x])[0].shape).toEqual([]);
  });
});
