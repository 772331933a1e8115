/** A session that profiles: ONNX Runtime's file names nodes by the place where they were traced. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as e from './index.ts';

it('tells forward, backward and update apart, and names that nest', async () => {
  const folder = await mkdtemp(join(tmpdir(), 's3a-profile-'));
  try {
    const x = e.input('x', 'float32', [8, 4]);
    const w = e.state('w', [4, 4]);
    const loss = e.within('student', () => e.within('head', () => e.mean(e.square(e.linear(x, w)))));
    const [dw] = e.gradient(loss, [w]);
    const rates = ['rate', 'step'].map(name => e.input(name, 'float32', [])) as [e.Tensor, e.Tensor];
    const graph = e.program({ loss, ...e.adamW({ w }, { w: dw }, ...rates) });
    const session = await e.compile(graph, { threads: 1, profile: join(folder, 'run') });
    await session.run({ x: new Float32Array(32).fill(1), rate: Float32Array.of(0.1), step: Float32Array.of(1) });
    await session.dispose();
    const [file, ...others] = readdirSync(folder);
    expect(others).toEqual([]);
    const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { name: string }[];
    const places = events.map(({ name }) => /^(.*)\/[A-Z]\w*\/\d+_kernel_time$/.exec(name)?.[1]);
    for (const place of ['student/head', 'backward', 'update']) expect(places).toContain(place);
  } finally {
    await rm(folder, { recursive: true });
  }
  expect(() => e.within('a', () => e.reshape(e.input('x', 'float32', [2]), [3]))).toThrow('sizes differ');
  const after = e.exp(e.input('x', 'float32', [2]));
  expect(after.source.kind === 'node' && after.source.node.place).toBe('');
});
