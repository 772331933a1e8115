/** Several steps in one call against as many calls, bit by bit. */
import { expect, test } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';

const STEPS = 5;

/** A training of two layers with a state that only is read, another that is a step's own count, and a constant table. */
function training(): e.Program {
  const shapes = { w1: [8, 4], b1: [8], w2: [3, 8] };
  const weights = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, e.state(name, shape)]));
  const fixed = e.state('fixed', [3]);
  const count = e.state('count', []);
  const x = e.input('x', 'float32', [6, 4]);
  const labels = e.input('labels', 'int32', [6]);
  const hidden = e.gelu(e.linear(x, weights.w1, weights.b1));
  const table = e.constant(Float32Array.of(1, 2, 3), [3]);
  const logits = e.mul(e.linear(hidden, weights.w2), e.add(fixed, table));
  const loss = e.mean(e.crossEntropy(logits, labels));
  const d = e.gradient(loss, Object.values(weights));
  const gradients = Object.fromEntries(Object.keys(weights).map((name, i) => [name, d[i]]));
  const step = e.add(count, 1);
  const next = e.adamW(weights, gradients, e.input('rate', 'float32', []), step);
  return e.program({ loss, best: e.argMax(logits), ...next, count: step });
}

function drawn() {
  const r = random(3, 'loop-test');
  const draw = (size: number): Float32Array => Float32Array.from({ length: size }, () => r.normal());
  const start = { w1: draw(32), w2: draw(24), fixed: draw(3) };
  const feeds = Array.from({ length: 2 * STEPS }, (_, i) => ({
    x: draw(24),
    labels: Int32Array.from({ length: 6 }, () => r.int(3)),
    rate: Float32Array.of(0.05 / (i + 1)),
  }));
  return { start, feeds };
}

/** The feeds of several steps as one of each. */
function stacked(feeds: ReturnType<typeof drawn>['feeds']) {
  const join = <T extends Float32Array | Int32Array>(arrays: T[]): number[] => arrays.flatMap(array => [...array]);
  return {
    x: Float32Array.from(join(feeds.map(({ x }) => x))),
    labels: Int32Array.from(join(feeds.map(({ labels }) => labels))),
    rate: Float32Array.from(join(feeds.map(({ rate }) => rate))),
  };
}

test.each([false, true])('a call of five steps is five calls (frozen %s)', async frozen => {
  const { start, feeds } = drawn();
  const one = await e.compile(training(), { threads: 1, lean: true, frozen });
  const five = await e.compile(training(), { threads: 1, steps: STEPS, frozen });
  try {
    for (const session of [one, five]) await session.setState(start);
    const names = ['w1', 'b1', 'w2', 'count', 'adamw.m.w1', 'adamw.v.w2'];
    for (const half of [feeds.slice(0, STEPS), feeds.slice(STEPS)]) {
      const losses: number[] = [];
      const best: number[] = [];
      for (const fed of half) {
        const results = await one.run(fed);
        losses.push(Number(results.loss[0]));
        best.push(...(results.best as Int32Array));
      }
      const results = await five.run(stacked(half));
      expect([...(results.loss as Float32Array)]).toEqual(losses);
      expect([...(results.best as Int32Array)]).toEqual(best);
      expect(await five.getState(names)).toEqual(await one.getState(names));
    }
    expect((await five.getState(['count'])).count[0]).toBe(2 * STEPS);
    expect((await five.getState(['w1'])).w1).not.toEqual(start.w1);
  } finally {
    await one.dispose();
    await five.dispose();
  }
});

test('a call takes stacks, and a whole number of steps', async () => {
  const session = await e.compile(training(), { threads: 1, steps: 2 });
  try {
    await expect(session.run(drawn().feeds[0])).rejects.toMatchObject({
      code: 'FEED',
      message: "input 'x' takes Float32Array of shape [2, 6, 4], not Float32Array of length 24",
    });
  } finally {
    await session.dispose();
  }
  for (const steps of [0, 1.5]) {
    await expect(e.compile(training(), { steps })).rejects.toMatchObject({ code: 'STEPS' });
  }
});
