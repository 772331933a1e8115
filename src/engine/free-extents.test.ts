/** Programs with free extents run at any of them, as the same program traced with those extents. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import {
  add,
  compile,
  constant,
  expand,
  gather,
  input,
  linear,
  matMul,
  program,
  quickGelu,
  reshape,
  slice,
  softmax,
  type Tensor as Traced,
  toOnnx,
  transpose,
} from './index.ts';

const random = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i));
const [WORDS, MOST, WIDTH] = [9, 12, 4];
const table = random(WORDS * WIDTH, 1);
const positions = random(MOST * WIDTH, 2);
const weight = random(WIDTH * WIDTH, 3);

/** A small attention layer over ids [B, T]: looks up, slices, splits heads, and flattens for its products. */
function attention(batch: number, tokens: number): { y: Traced; wide: Traced } {
  const ids = input('ids', 'int32', [batch, tokens]);
  const embedded = add(
    gather(constant(table, [WORDS, WIDTH]), ids),
    slice(constant(positions, [MOST, WIDTH]), 0, 0, tokens),
  );
  const heads = transpose(
    reshape(linear(embedded, constant(weight, [WIDTH, WIDTH])), [batch, tokens, 2, 2]),
    [0, 2, 1, 3],
  );
  const mixed = matMul(softmax(matMul(quickGelu(heads), heads, { transB: true, alpha: 0.5 })), heads);
  const y = reshape(transpose(mixed, [0, 2, 1, 3]), [batch, tokens, WIDTH]);
  return { y, wide: expand(reshape(y, [batch, tokens, 1, WIDTH]), [batch, tokens, 3, WIDTH]) };
}

describe('two free extents', () => {
  const [batch, tokens] = [1_000_003, 11];
  const free = [
    { extent: batch, name: 'batch_size' },
    { extent: tokens, name: 'sequence_length' },
  ];

  it.each([
    [1, 1, false],
    [3, 5, true],
    [2, 12, true],
  ])('batch %i, length %i, standard operators only: %s', async (b, t, standard) => {
    const model = toOnnx(program(attention(batch, tokens)), { free, standard });
    expect(Buffer.from(model).includes('FusedMatMul')).toBe(!standard);
    const ids = Int32Array.from({ length: b * t }, (_, i) => (i * 5) % WORDS);
    const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
    const found = await session.run({ ids: new Tensor('int32', ids, [b, t]) });
    await session.release();
    const fixed = await compile(program(attention(b, t)), { threads: 1 });
    const expected = await fixed.run({ ids });
    await fixed.dispose();
    expect(found.y.dims).toEqual([b, t, WIDTH]);
    expect(found.wide.dims).toEqual([b, t, 3, WIDTH]);
    expect(found.y.data as Float32Array).toBeAllclose(expected.y as Float32Array);
    expect(found.wide.data as Float32Array).toBeAllclose(expected.wide as Float32Array);
  });

  it('of which everything is a multiple are refused', () => {
    const y = reshape(input('x', 'float32', [1, 4]), [4]);
    expect(() => toOnnx(program({ y }), { free: [{ extent: 1, name: 'rows' }] })).toThrow(
      "the free extent 'rows' is 1",
    );
  });

  it('must be those of inputs, whether or not a shape asks for them', () => {
    const y = linear(input('x', 'float32', [4, 2]), constant(weight.subarray(0, 4), [2, 2]));
    expect(() => toOnnx(program({ y }), { free: [{ extent: 251, name: 'rows' }] })).toThrow(
      "no input has the free extent 'rows' (251)",
    );
  });

  it('must be those of inputs', () => {
    const x = expand(constant(Float32Array.of(1), [1, 1]), [batch, tokens]);
    const name = 'rows';
    expect(() => toOnnx(program({ x }), { free: [{ extent: batch, name }] })).toThrow(
      "no input has the free extent 'rows'",
    );
  });
});
