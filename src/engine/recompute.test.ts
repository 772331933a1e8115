/** Activations that are computed again: the same gradients, from nodes that ONNX Runtime really runs twice. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';

const [rows, width, depth] = [6, 8, 5];
const x = e.input('x', 'float32', [rows, width]);
const weights = Array.from({ length: depth }, (_, i) => e.state(`w${i}`, [width, width]));
const scales = Array.from({ length: depth }, (_, i) => e.state(`s${i}`, [width]));

/** Residual blocks with a norm, each in a place of its own; the scale is a small weight, whose gradient is a sum. */
function tower(): { loss: e.Tensor; blocks: Map<e.Node, number> } {
  let hidden = x;
  const blocks = new Map<e.Node, number>();
  for (const [i, weight] of weights.entries()) {
    const inner = e.softmax(e.gelu(e.linear(e.mul(hidden, scales[i]), weight)));
    hidden = e.add(hidden, e.mul(inner, e.tanh(hidden)));
    for (const node of e.sortNodes([hidden])) if (!blocks.has(node)) blocks.set(node, i);
  }
  return { loss: e.mean(e.square(hidden)), blocks };
}

function feeds(): Record<string, e.TensorData> {
  const draw = random(0, 'recompute');
  const normal = (length: number): Float32Array => Float32Array.from({ length }, () => draw.normal());
  const state = [...weights, ...scales].map(tensor => [(tensor.source as { name: string }).name, tensor] as const);
  return Object.fromEntries([
    ['x', normal(rows * width)],
    ...state.map(([name, { shape }]) => [name, normal(e.sizeOf(shape))] as const),
  ]);
}

/** Loss and gradients of all weights. */
function derived(recompute?: (blocks: Map<e.Node, number>) => e.Segments): e.Program {
  const { loss, blocks } = tower();
  const wrt = [...weights, ...scales];
  const gradients = e.gradient(loss, wrt, { recompute: recompute?.(blocks) });
  return e.program({ loss, ...Object.fromEntries(gradients.map((g, i) => [`g${i}`, g])) });
}

async function run(program: e.Program, profile?: string): Promise<Record<string, e.TensorData>> {
  const session = await e.compile(program, { threads: 1, profile });
  try {
    const { x: fed, ...state } = feeds();
    await session.setState(state);
    return await session.run({ x: fed });
  } finally {
    await session.dispose();
  }
}

describe('gradients of blocks that are computed again', () => {
  it('are the same bits, whatever the segments are', async () => {
    const plain = derived();
    const expected = await run(plain);
    const nodes = [...tower().blocks.keys()].length;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(fc.nat(3)), { minLength: nodes, maxLength: nodes }), async drawn => {
        // Segments in one piece, in several, and inside each other.
        const program = derived(blocks => {
          const segments = new Map([...blocks.keys()].map((node, i) => [node, drawn[i] ?? undefined]));
          return node => segments.get(node);
        });
        expect(await run(program)).toEqual(expected);
      }),
      { numRuns: 12, seed: 0 },
    );
  }, 60_000);

  it('come from copies that ONNX Runtime does not exchange for the first nodes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 's3a-recompute-'));
    try {
      // All blocks but the last.
      const program = derived(
        blocks => node => ((blocks.get(node) ?? depth) < depth - 1 ? blocks.get(node) : undefined),
      );
      expect(await run(program, join(folder, 'profile'))).toEqual(await run(derived()));
      const [file] = await readdir(folder);
      const events = JSON.parse(await readFile(join(folder, file), 'utf8')) as { name: string; cat: string }[];
      const products = events.filter(({ name, cat }) => cat === 'Node' && /Gemm.*_kernel_time$/.test(name));
      // Each block: forward, and three in the backward pass, of which the first is again the forward one.
      expect(products.filter(({ name }) => name.includes('recompute'))).toHaveLength(depth - 1);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('after', () => {
  it('changes no bit, whatever the gates hold', async () => {
    const gates = [e.input('a', 'float32', [2, 3]), e.input('b', 'float32', [])];
    const y = e.input('y', 'float32', [4]);
    const session = await e.compile(e.program({ one: e.after(y, [gates[1]]), two: e.after(y, gates) }), { threads: 1 });
    const values = Float32Array.of(-0, Number.NaN, Number.POSITIVE_INFINITY, 1e-40);
    for (const gate of [1, Number.NaN, Number.NEGATIVE_INFINITY]) {
      const result = await session.run({ y: values, a: new Float32Array(6).fill(gate), b: Float32Array.of(gate) });
      expect(result).toEqual({ one: values, two: values });
    }
    await session.dispose();
  });
});
