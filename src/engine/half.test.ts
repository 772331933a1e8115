/** Mixed precision: which operators become float16, their values, and gradients that pass the casts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';

/** A block with a norm, attention and an activation: everything that a tower has. */
function block() {
  const weights = Object.fromEntries(
    [
      ['scale', [6]],
      ['shift', [6]],
      ['query', [6, 6]],
      ['key', [6, 6]],
      ['out', [5, 6]],
      ['bias', [5]],
    ].map(([name, shape]) => [name, e.state(name as string, shape as number[])]),
  );
  const x = e.input('x', 'float32', [2, 4, 6]);
  const normed = e.layerNorm(x, weights.scale, weights.shift);
  const scores = e.matMul(e.linear(normed, weights.query), e.linear(normed, weights.key), { transB: true });
  const seen = e.add(x, e.matMul(e.softmax(scores), normed));
  return { weights, x, y: e.gelu(e.linear(seen, weights.out, weights.bias)) };
}

const typesOf = (tensors: readonly e.Tensor[], operator: string): string[] =>
  e
    .sortNodes(tensors)
    .filter(node => node.operator === operator)
    .map(({ inputs, outputs }) => `${inputs.map(({ dtype }) => dtype)} -> ${outputs[0].dtype}`);

describe('autocast', () => {
  it('computes products in float16, norms and softmax in float32, and gives back the type it was given', () => {
    const { y } = block();
    const cast = e.autocast([y]);
    expect(cast[0].dtype).toBe('float32');
    expect(cast[0].shape).toEqual(y.shape);
    expect(new Set(typesOf(cast, 'MatMul'))).toEqual(new Set(['float16,float16 -> float16']));
    expect(typesOf(cast, 'Gemm').sort()).toEqual([
      ...['float16,float16 -> float16', 'float16,float16 -> float16', 'float16,float16,float16 -> float16'],
    ]);
    expect(typesOf(cast, 'LayerNormalization')).toEqual(['float32,float32,float32 -> float32']);
    expect(typesOf(cast, 'Softmax')).toEqual(['float32 -> float32']);
    // The residual sum is of a float32 input and a float16 product.
    expect(typesOf(cast, 'Add')).toEqual(['float32,float32 -> float32']);
    expect(typesOf(cast, 'Gelu')).toEqual(['float16 -> float16']);
  });

  it('casts each tensor once, leaves float64 and places as they are, and what has no product', () => {
    const w = e.state('w', [3, 3]);
    const x = e.input('x', 'float32', [3, 3]);
    const twice = e.within('tower', () => e.add(e.matMul(x, w), e.matMul(w, x)));
    const nodes = e.sortNodes(e.autocast([twice]));
    expect(nodes.filter(({ operator }) => operator === 'Cast')).toHaveLength(3);
    expect(new Set(nodes.filter(({ operator }) => operator !== 'Cast').map(({ place }) => place))).toEqual(
      new Set(['tower']),
    );
    const double = e.input('d', 'float64', [3, 3]);
    const product = e.matMul(double, double);
    expect(e.autocast([product])).toEqual([product]);
    const plain = e.exp(e.add(x, w));
    expect(e.autocast([plain])[0]).toBe(plain);
  });

  it('gives products that are those of float32 but for the rounding of their operands', async () => {
    const [a, b] = [e.input('a', 'float32', [7, 9]), e.input('b', 'float32', [5, 9])];
    const exact = e.linear(a, b);
    const [mixed] = e.autocast([exact]);
    const session = await e.compile(e.program({ exact, mixed }), { threads: 1 });
    try {
      const r = random(1, 'half-test');
      const draw = (size: number): Float32Array => Float32Array.from({ length: size }, () => r.normal());
      const found = await session.run({ a: draw(63), b: draw(45) });
      const [wide, narrow] = [found.exact as Float32Array, found.mixed as Float32Array];
      // Nine terms of about 1, each operand with a rounding of 2^-11 of itself, and one of the sum. ONNX Runtime's CPU provider takes
      // float16 for a way to store float32 and leaves out most of these roundings; test/webgpu.test.ts has them all.
      expect(narrow).toBeAllclose(wide, { rtol: 2 ** -10, atol: 9 * 2 ** -10 });
    } finally {
      await session.dispose();
    }
  });

  it('has the gradient of the function itself where float16 is exact', async () => {
    const small = fc.integer({ min: -4, max: 4 });
    const shape = { x: 6, w: 6 };
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          x: fc.array(small, { minLength: shape.x, maxLength: shape.x }),
          w: fc.array(small, { minLength: shape.w, maxLength: shape.w }),
        }),
        async values => {
          const [x, w] = [e.input('x', 'float32', [2, 3]), e.input('w', 'float32', [2, 3])];
          const [y] = e.autocast([e.linear(x, w)]);
          const loss = e.sum(e.square(y));
          const [dx, dw] = e.gradient(loss, [x, w]);
          expect([dx.dtype, dw.dtype]).toEqual(['float32', 'float32']);
          const session = await e.compile(e.program({ loss, dx, dw }), { threads: 1 });
          try {
            const feeds = { x: Float32Array.from(values.x), w: Float32Array.from(values.w) };
            const derived = await session.run(feeds);
            for (const [name, gradient] of [
              ['x', 'dx'],
              ['w', 'dw'],
            ] as const) {
              for (let i = 0; i < feeds[name].length; i++) {
                // The loss is quadratic in each: a central difference of step 1 is its derivative.
                const at = async (change: number): Promise<number> => {
                  const moved = Float32Array.from(feeds[name], (v, j) => (j === i ? v + change : v));
                  return Number((await session.run({ ...feeds, [name]: moved })).loss[0]);
                };
                expect(derived[gradient][i], `${gradient}[${i}]`).toBe(((await at(1)) - (await at(-1))) / 2);
              }
            }
          } finally {
            await session.dispose();
          }
        },
      ),
      { numRuns: 4, seed: 1 },
    );
  });

  it('gives float32 gradients of all weights near those of float32', async () => {
    const { weights, x, y } = block();
    const names = Object.keys(weights);
    const gradientsOf = (out: e.Tensor): Record<string, e.Tensor> => {
      const d = e.gradient(e.mean(e.square(out)), Object.values(weights));
      return Object.fromEntries(names.map((name, i) => [name, d[i]]));
    };
    const exact = gradientsOf(y);
    const mixed = gradientsOf(e.autocast([y])[0]);
    expect(Object.values(mixed).map(({ dtype }) => dtype)).toEqual(names.map(() => 'float32'));
    const outputs = names.flatMap(name => [
      [`exact.${name}`, exact[name]],
      [`mixed.${name}`, mixed[name]],
    ]);
    const session = await e.compile(e.program(Object.fromEntries(outputs)), { threads: 1 });
    try {
      const r = random(2, 'half-test');
      const draw = (size: number): Float32Array => Float32Array.from({ length: size }, () => r.normal());
      await session.setState(Object.fromEntries(names.map(name => [name, draw(e.sizeOf(weights[name].shape))])));
      const found = await session.run({ x: draw(e.sizeOf(x.shape)) });
      for (const name of names) {
        const size = Math.max(...Array.from(found[`exact.${name}`] as Float32Array, Math.abs));
        expect(found[`mixed.${name}`] as Float32Array, name).toBeAllclose(found[`exact.${name}`] as Float32Array, {
          ...{ rtol: 2e-2, atol: 5e-3 * size },
        });
      }
    } finally {
      await session.dispose();
    }
  });
});
