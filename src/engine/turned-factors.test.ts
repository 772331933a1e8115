/** Which products get their first factor turned, and that nothing changes but the time. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';
import { withTurnedFactors } from './turned-factors.ts';

const draw = (name: string, length: number): Float32Array => {
  const rng = random('turned', name);
  return Float32Array.from({ length }, () => rng.uniform(-1, 1));
};

const operators = ({ nodes }: e.Program): string[] => nodes.map(({ operator }) => operator);

/** aᵀ·b of matrices of as many rows. */
function product(rows: number, m: number, n: number, options: { transB?: boolean } = {}): e.Tensor {
  const b = options.transB ? [n, rows] : [rows, n];
  const factors = [e.input('a', 'float32', [rows, m]), e.input('b', 'float32', b)] as const;
  return e.gemm(...factors, undefined, { transA: true, ...options });
}

describe('the first factor', () => {
  it.each<[string, e.Tensor]>([
    ['with rows', product(200, 768, 800)],
    ['with a second factor that is transposed', product(200, 800, 768, { transB: true })],
  ])('of a large product is turned %s', (_, y) => {
    expect(operators(withTurnedFactors(e.program({ y })))).toEqual(['Transpose', 'Gemm']);
  });

  it('is turned once for all products of it', () => {
    const a = e.input('a', 'float32', [256, 768]);
    const of = (name: string): e.Tensor =>
      e.gemm(a, e.input(name, 'float32', [256, 768]), undefined, { transA: true, alpha: 2 });
    const { nodes } = withTurnedFactors(e.program({ x: of('b'), y: of('c') }));
    expect(nodes.map(({ operator }) => operator).sort()).toEqual(['Gemm', 'Gemm', 'Transpose']);
    expect(nodes.at(-1)!.attributes).toEqual({ transA: false, transB: false, alpha: 2 });
  });

  it.each<[string, e.Tensor]>([
    ['has few rows', product(199, 768, 768)],
    ['has few columns', product(256, 767, 768)],
    ['meets few columns', product(256, 768, 767)],
    ['would have rows that lie badly', product(1024, 768, 768)],
    ['is read by rows', e.gemm(e.input('a', 'float32', [768, 256]), e.input('b', 'float32', [256, 768]))],
  ])('stays as it is where it %s', (_, y) => {
    const traced = e.program({ y });
    expect(withTurnedFactors(traced)).toBe(traced);
  });
});

it('is turned by a node of its own, and the bits are those of the product as it was', async () => {
  const [rows, m, n] = [250, 768, 776];
  const traced = e.program({ y: product(rows, m, n) });
  const feeds = { a: draw('a', rows * m), b: draw('b', rows * n) };
  const folder = await mkdtemp(join(tmpdir(), 's3a-turned-'));
  try {
    const session = await e.compile(traced, { profile: join(folder, 'profile') });
    const turned = await session.run(feeds);
    await session.dispose();
    const asTraced = await e.compile(traced, { steps: 1 });
    const plain = await asTraced.run(feeds);
    await asTraced.dispose();
    expect(turned).toEqual(plain);
    const [file] = readdirSync(folder);
    const events: { args?: { op_name?: string } }[] = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    expect(events.map(({ args }) => args?.op_name)).toContain('Transpose');
  } finally {
    await rm(folder, { recursive: true });
  }
});
