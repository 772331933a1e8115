/** Convolutions in blocks of channels against ONNX Runtime's convolutions without them. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import { channelBlock } from './channel-block.ts';
import * as e from './index.ts';

const block = await channelBlock();

const draw = (name: string, shape: readonly number[]): Float32Array => {
  const rng = random('blocks', name);
  return Float32Array.from({ length: e.sizeOf(shape) }, () => rng.uniform(-1, 1));
};

/** Values of all outputs by a model for the CPU, or for any runtime; what is not given is drawn. */
async function computed(
  program: e.Program,
  cpu: e.OnnxOptions['cpu'],
  given: Record<string, Float32Array> = {},
): Promise<Record<string, Float32Array>> {
  const options = { logSeverityLevel: 4, intraOpNumThreads: 2 } as const;
  const session = await InferenceSession.create(e.toOnnx(program, { cpu }), options);
  try {
    const feeds = [...program.inputs].map(([name, { shape }]) => [
      name,
      new Tensor('float32', given[name] ?? draw(name, shape), shape),
    ]);
    const values = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(Object.entries(values).map(([name, { data }]) => [name, data as Float32Array]));
  } finally {
    await session.release();
  }
}

/** A stem of stride 2, a pool, a residual block with a shortcut, and the gradients of everything. */
function tower(batch: number, size: number): e.Program {
  const x = e.input('x', 'float32', [batch, 3, size, size]);
  const weights: Record<string, e.Tensor> = {};
  const conv = (name: string, from: e.Tensor, out: number, kernel: number, stride = 1): e.Tensor => {
    const weight = e.input(`${name}.weight`, 'float32', [out, from.shape[1], kernel, kernel]);
    const bias = e.input(`${name}.bias`, 'float32', [out]);
    Object.assign(weights, { [`${name}.weight`]: weight, [`${name}.bias`]: bias });
    return e.conv2d(from, e.mul(weight, 0.1), bias, { stride, padding: (kernel - 1) / 2 });
  };
  const stem = e.relu(conv('stem', x, 32, 3, 2));
  const pooled = e.avgPool2d(e.relu(conv('second', stem, 32, 3)), 2);
  const inner = e.relu(conv('inner', pooled, 64, 3));
  const outer = e.relu(e.add(conv('outer', inner, 64, 3), conv('shortcut', pooled, 64, 1)));
  const spread = e.mul(e.sub(outer, e.mean(outer)), outer);
  const names = Object.keys(weights);
  const gradients = e.gradient(e.mean(spread), [...names.map(name => weights[name]), x]);
  return e.program({
    stem,
    outer,
    active: e.cast(e.greater(outer, 0), 'float32'),
    mean: e.mean(outer, { axes: [2, 3] }),
    ...Object.fromEntries([...names, 'x'].map((name, i) => [`d.${name}`, e.mul(gradients[i], 1000)])),
  });
}

describe.skipIf(block === undefined)('blocks of channels (this machine has no direct convolutions)', () => {
  it.each([
    [32, 12],
    [48, 11],
    [16, 21],
    [6, 12],
  ])('%i images of side %i: values and gradients are those without blocks', async (batch, size) => {
    const program = tower(batch, size);
    const spelt = (cpu: e.OnnxOptions['cpu']): string => Buffer.from(e.toOnnx(program, { cpu })).toString('latin1');
    expect(spelt({ block })).toContain('ReorderInput');
    expect(spelt({ block: undefined })).not.toContain('ReorderInput');
    expect(spelt({ block: undefined })).toContain('dilations');
    expect(spelt(undefined)).not.toContain('dilations');
    const plain = await computed(program, undefined);
    const [blocks, dilated] = [await computed(program, { block }), await computed(program, { block: undefined })];
    expect(Object.keys(blocks)).toHaveLength(program.outputs.size);
    for (const [name, expected] of Object.entries(plain)) {
      // Sums of up to 5,000 products in another order.
      expect(blocks[name], name).toBeAllclose(expected, { rtol: 1e-4, atol: 2e-5 });
      expect(dilated[name], name).toBeAllclose(expected, { rtol: 1e-4, atol: 2e-5 });
      expect(Math.max(...expected.map(v => Math.abs(v))), name).toBeGreaterThan(1e-2);
    }
  });

  it('have the same bits for small maps that lie side by side', async () => {
    // 32 images fill blocks and lie side by side; 20 do not.
    const made = (batch: number): e.Program => {
      const [x, added] = ['x', 'added'].map(name => e.input(name, 'float32', [batch, 32, 5, 4]));
      const [first, second] = ['first', 'second'].map(name => e.input(name, 'float32', [32, 32, 3, 3]));
      const inner = e.relu(e.conv2d(x, first, e.input('bias', 'float32', [32]), { padding: 1 }));
      const y = e.add(e.conv2d(inner, second, undefined, { padding: 1 }), added);
      return e.program({ y, dx: e.gradient(e.sum(e.mul(y, y)), [x])[0] });
    };
    const [whole, part] = await Promise.all([32, 20].map(batch => computed(made(batch), { block })));
    expect(part.y).toEqual(whole.y.slice(0, part.y.length));
    expect(part.dx).toEqual(whole.dx.slice(0, part.dx.length));
    expect(Buffer.from(e.toOnnx(made(32), { cpu: { block } })).includes('dilations')).toBe(true);
    expect(Buffer.from(e.toOnnx(made(20), { cpu: { block } })).includes('dilations')).toBe(false);
  });

  it('have masks of exact zeros and ones', async () => {
    const x = e.input('x', 'float32', [1, 16, 2, 4]);
    const y = e.conv2d(x, e.input('weight', 'float32', [16, 16, 1, 1]));
    const program = e.program({ mask: e.cast(e.greater(y, 0), 'float32'), y });
    expect(Buffer.from(e.toOnnx(program, { cpu: { block } })).includes('HardSigmoid')).toBe(true);
    const numbers = [0, -0, 1.2e-38, -1.2e-38, 1, -1, 3e38, -3e38];
    const values = Float32Array.from({ length: 128 }, (_, i) => numbers[i % 8]);
    const identity = Float32Array.from({ length: 256 }, (_, i) => (i % 17 === 0 ? 1 : 0));
    const { mask, y: same } = await computed(program, { block }, { x: values, weight: identity });
    expect(same).toEqual(values.map(v => v + 0));
    expect(mask).toEqual(values.map(v => (v > 0 ? 1 : 0)));
  });

  it('leave constant kernels to ONNX Runtime, and other numbers of channels alone', () => {
    const x = e.input('x', 'float32', [16, 32, 8, 8]);
    const kernel = e.constant(new Float32Array(32 * 32 * 9), [32, 32, 3, 3]);
    const narrow = e.input('w', 'float32', [12, 32, 3, 3]);
    for (const weight of [kernel, narrow]) {
      const bytes = e.toOnnx(e.program({ y: e.conv2d(x, weight) }), { cpu: { block } });
      expect(Buffer.from(bytes).includes('ReorderInput')).toBe(false);
    }
  });
});
