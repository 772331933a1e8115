/** States that are written where they lie: which, and that values are those of separate memory. */
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import { inPlaceStates, waitForReaders } from './in-place.ts';
import * as e from './index.ts';

const [a, b] = [e.state('a', [3]), e.state('b', [3])];
const names = (outputs: Record<string, e.Tensor>): string[] => [...inPlaceStates(e.program(outputs))].sort();

describe('a state is written in place', () => {
  it('when its readers lead to its next value', () => {
    expect(names({ a: e.add(a, 1), b: e.sub(e.mul(b, 0.9), a) })).toEqual(['b']);
    expect(names({ a: e.add(a, 1), b: e.add(b, 2) })).toEqual(['a', 'b']);
  });

  it('not when something reads it that need not run before', () => {
    expect(names({ a: e.add(a, 1), y: e.exp(a) })).toEqual([]);
  });

  it('not when a view of it is read later', () => {
    const view = e.reshape(a, [1, 3]);
    const next = e.add(a, e.sum(view));
    expect(names({ a: next })).toEqual(['a']);
    expect(names({ a: next, y: e.exp(view) })).toEqual([]);
  });

  it('not when two states change places, nor when the last value is returned', () => {
    expect(names({ a: b, b: a })).toEqual([]);
    expect(names({ a: e.add(a, 1), last: a })).toEqual([]);
  });

  it('with AdamW the moments and, where no product reads it on the way back, the weight', () => {
    expect(names(trained())).toEqual([
      'adamw.m.first',
      'adamw.m.second',
      'adamw.v.first',
      'adamw.v.second',
      'average',
      'first',
    ]);
  });
});

/** Two layers with AdamW and an average; the way back reads the second weight. */
function trained(): Record<string, e.Tensor> {
  const x = e.input('x', 'float32', [2, 256]);
  const [first, second] = [e.state('first', [128, 256]), e.state('second', [256, 128])];
  const loss = e.mean(e.square(e.linear(e.relu(e.linear(x, first)), second)));
  const [d1, d2] = e.gradient(loss, [first, second]);
  const rates = ['rate', 'step'].map(name => e.input(name, 'float32', [])) as [e.Tensor, e.Tensor];
  const updated = e.adamW({ first, second }, { first: d1, second: d2 }, ...rates);
  const average = e.state('average', second.shape);
  return { loss, ...updated, ...e.ema({ average }, { average: updated.second }, e.input('decay', 'float32', [])) };
}

describe('a state whose update waits for its readers', () => {
  const waiting = (outputs: Record<string, e.Tensor>): string[] => [
    ...inPlaceStates(waitForReaders(e.program(outputs))),
  ];

  it('is written in place too', () => {
    expect(waiting(trained()).sort()).toEqual([...names(trained()), 'second'].sort());
  });

  it('has the values of separate memory, bit by bit, and so has what is made of it', async () => {
    const program = e.program(trained());
    // An output that is the last value keeps the weight from being overwritten.
    const apart = e.program({ ...Object.fromEntries(program.outputs), kept: program.inputs.get('second')! });
    const draw = random(0, 'in place');
    const start = Object.fromEntries(
      ['first', 'second'].map(name => [name, Float32Array.from({ length: 128 * 256 }, () => 0.1 * draw.normal())]),
    );
    const feeds = { x: Float32Array.from({ length: 512 }, () => draw.normal()), rate: Float32Array.of(0.01) };
    const run = async (outputs: e.Program) => {
      const session = await e.compile(outputs, { threads: 1, lean: true });
      await session.setState(start);
      for (const i of [1, 2, 3]) {
        await session.run({ ...feeds, step: Float32Array.of(i), decay: Float32Array.of(0.9) });
      }
      const states = await session.getState();
      await session.dispose();
      return states;
    };
    expect(await run(program)).toEqual(await run(apart));
  });

  it('keeps its memory where there is no scalar to wait, or a reader needs the next value', () => {
    const y = e.exp(a);
    expect(waiting({ a: e.add(a, b), y })).toEqual([]);
    const next = e.mul(a, 0.5);
    expect(waiting({ a: next, y: e.mul(e.exp(a), next) })).toEqual([]);
    expect(waiting({ a: next, y })).toEqual(['a']);
  });
});

it('values in place are those of separate memory', async () => {
  const x = e.input('x', 'float32', [3]);
  // The first is written in place; the second has a reader beside its update and is not.
  const outputs = {
    a: e.add(e.mul(a, 0.5), e.mul(a, x)),
    b: e.add(e.mul(b, 0.5), e.mul(b, x)),
    read: e.exp(b),
  };
  expect(names(outputs)).toEqual(['a']);
  const session = await e.compile(e.program(outputs), { threads: 1 });
  await session.setState({ a: Float32Array.of(1, 2, 3), b: Float32Array.of(1, 2, 3) });
  const expected = [1, 2, 3];
  for (let i = 0; i < 5; i++) {
    const { read } = await session.run({ x: Float32Array.of(0.25, 0.5, 1.5) });
    expect(read as Float32Array).toBeAllclose(expected.map(Math.exp), { rtol: 1e-6 });
    [0.25, 0.5, 1.5].forEach((factor, j) => {
      expected[j] *= 0.5 + factor;
    });
  }
  const end = await session.getState();
  await session.dispose();
  expect(end).toEqual({ a: Float32Array.from(expected), b: Float32Array.from(expected) });
});
