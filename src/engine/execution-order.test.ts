/** The order of execution, against ONNX Runtime's own profile. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { executionOrder } from './execution-order.ts';
import * as e from './index.ts';

/** A program whose order can be read from the profile: each node is the only one of its place, and none is fused. */
function branches(): e.Program {
  const x = e.input('x', 'float32', [4, 4]);
  const w = e.state('w', [4, 4]);
  const step = (name: string, trace: () => e.Tensor): e.Tensor => e.within(name, trace);
  const a = step('a', () => e.exp(x));
  const b = step('b', () => e.tanh(a));
  const c = step('c', () => e.matMul(a, w));
  const d = step('d', () => e.sqrt(e.abs(b)));
  const f = step('f', () => e.div(c, d));
  const g = step('g', () => e.neg(a));
  return e.program({
    first: step('h', () => e.sigmoid(f)),
    second: step('i', () => e.mul(g, b)),
    w: step('j', () => e.sub(w, c)),
    last: step('k', () => e.reciprocal(d)),
  });
}

/** Names of the nodes of a run, in the order in which they ran. */
async function ranIn(program: e.Program, feeds: Record<string, e.TensorData>): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 's3a-order-'));
  try {
    const session = await e.compile(program, { threads: 1, profile: join(folder, 'run') });
    await session.run(feeds);
    await session.dispose();
    const [file] = await readdir(folder);
    const events = JSON.parse(await readFile(join(folder, file), 'utf8')) as {
      name: string;
      ts: number;
      cat: string;
    }[];
    return events
      .filter(({ name, cat }) => cat === 'Node' && name.endsWith('_kernel_time'))
      .sort((a, b) => a.ts - b.ts)
      .map(({ name }) => name);
  } finally {
    await rm(folder, { recursive: true });
  }
}

it("is that of ONNX Runtime's profile, and not that of the program", async () => {
  const program = branches();
  const names = await ranIn(program, { x: new Float32Array(16).fill(0.5) });
  const ran = names.filter(name => /^[a-k]\//.test(name)).map(name => name.split('/').slice(0, 2).join(' '));
  const told = (nodes: readonly e.Node[]): string[] => nodes.map(({ place, operator }) => `${place} ${operator}`);
  expect(ran).toHaveLength(program.nodes.length);
  expect(told(executionOrder(program))).toEqual(ran);
  expect(told(program.nodes)).not.toEqual(ran);
});

it('updates the last layers before the first ones have their gradients', async () => {
  const x = e.input('x', 'float32', [2, 160]);
  const layers: e.Tensors[] = [];
  let hidden = x;
  for (let i = 0; i < 4; i++) {
    // A large weight, and vectors that are updated as one and cut in two then.
    const layer = {
      [`w${i}`]: e.state(`w${i}`, [160, 160]),
      [`b${i}`]: e.state(`b${i}`, [160]),
      [`g${i}`]: e.state(`g${i}`, [160]),
    };
    hidden = e.mul(e.tanh(e.linear(hidden, layer[`w${i}`], layer[`b${i}`])), layer[`g${i}`]);
    layers.push(layer);
  }
  const gradients = e.gradient(
    e.mean(e.square(hidden)),
    layers.flatMap(layer => Object.values(layer)),
  );
  const [rate, step] = ['rate', 'step'].map(name => e.input(name, 'float32', []));
  const updates = layers.map((layer, i) => {
    const derived = Object.fromEntries(Object.keys(layer).map((name, j) => [name, gradients[3 * i + j]]));
    return e.within(`layer ${i}`, () => e.adamW(layer, derived, rate, step));
  });
  const one = Float32Array.of(1);
  const program = e.program(Object.assign({}, ...updates));
  const ran = await ranIn(program, { x: new Float32Array(320).fill(0.5), rate: one, step: one });
  const placesOf = (text: string): number[] => ran.flatMap((name, i) => (name.startsWith(text) ? [i] : []));
  const products = placesOf('backward/Gemm');
  // Of each layer two, of the first one: it needs no gradient of its input.
  expect(products).toHaveLength(7);
  for (const layer of [3, 2, 1]) {
    expect(placesOf(`layer ${layer}/update`).at(-1)).toBeLessThan(products[2 * (4 - layer)]);
  }
});
