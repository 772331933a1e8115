/** What is expanded for element-wise operators alone is not made. */
import { expect, it } from 'vitest';
import { random } from '../random.ts';
import { withoutExpansions } from './broadcast.ts';
import * as e from './index.ts';

const draw = (name: string, length: number): Float32Array => {
  const rng = random('broadcast', name);
  return Float32Array.from({ length }, () => rng.uniform(-1, 1));
};

const operators = ({ nodes }: e.Program): string[] => nodes.map(({ operator }) => operator);

it('is not made where the other operand has the whole shape, and values stay', async () => {
  const [x, y] = [e.input('x', 'float32', [3, 4]), e.input('y', 'float32', [3, 1])];
  const wide = e.expand(y, [3, 4]);
  const traced = e.program({ sum: e.add(x, wide), difference: e.sub(wide, x), both: e.mul(wide, e.exp(wide)), wide });
  const short = withoutExpansions(traced);
  expect(operators(short).filter(name => name === 'Expand')).toHaveLength(1);
  const readers = short.nodes.filter(({ inputs }) => inputs.some(t => t === wide)).map(({ operator }) => operator);
  expect(readers).toEqual(['Exp']);
  const feeds = { x: draw('x', 12), y: draw('y', 3) };
  const session = await e.compile(traced);
  const { sum, difference, both } = await session.run(feeds);
  await session.dispose();
  const each = (f: (a: number, b: number) => number): Float32Array =>
    feeds.x.map((a, i) => f(a, feeds.y[Math.floor(i / 4)]));
  expect(sum).toEqual(each((a, b) => a + b));
  expect(difference).toEqual(each((a, b) => b - a));
  expect(both).toBeAllclose(
    each((_, b) => b * Math.exp(b)),
    { rtol: 1e-6 },
  );
});

it('stays where nothing else has the shape, and for what is no element-wise operator', () => {
  const y = e.input('y', 'float32', [3, 1]);
  const wide = e.expand(y, [3, 4]);
  for (const made of [e.add(wide, 1), e.matMul(wide, e.input('w', 'float32', [4, 2])), e.mul(wide, wide)]) {
    const traced = e.program({ made });
    expect(operators(withoutExpansions(traced)).filter(name => name === 'Expand')).toHaveLength(1);
  }
});
