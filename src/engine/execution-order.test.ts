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

it("is that of ONNX Runtime's profile, and not that of the program", async () => {
  const folder = await mkdtemp(join(tmpdir(), 's3a-order-'));
  try {
    const program = branches();
    const session = await e.compile(program, { threads: 1, profile: join(folder, 'run') });
    await session.run({ x: new Float32Array(16).fill(0.5) });
    await session.dispose();
    const [file] = await readdir(folder);
    const events = JSON.parse(await readFile(join(folder, file), 'utf8')) as { name: string; ts: number }[];
    const ran = events
      .filter(({ name }) => /^[a-k]\/.*_kernel_time$/.test(name))
      .sort((a, b) => a.ts - b.ts)
      .map(({ name }) => name.split('/').slice(0, 2).join(' '));
    const told = (nodes: readonly e.Node[]): string[] => nodes.map(({ place, operator }) => `${place} ${operator}`);
    expect(ran).toHaveLength(program.nodes.length);
    expect(told(executionOrder(program))).toEqual(ran);
    expect(told(program.nodes)).not.toEqual(ran);
  } finally {
    await rm(folder, { recursive: true });
  }
});
