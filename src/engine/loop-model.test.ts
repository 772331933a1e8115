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

test('a call may have fewer steps, down to one', async () => {
  const { start, feeds } = drawn();
  const [one, many] = [
    await e.compile(training(), { threads: 1 }),
    await e.compile(training(), { threads: 1, steps: 8 }),
  ];
  try {
    for (const session of [one, many]) await session.setState(start);
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 10],
    ]) {
      const losses: number[] = [];
      for (const fed of feeds.slice(from, to)) losses.push(Number((await one.run(fed)).loss[0]));
      const fed: Record<string, e.TensorData> = stacked(feeds.slice(from, to));
      const results = await many.run(fed, { move: true });
      expect(fed.x).toHaveLength(0);
      expect([...(results.loss as Float32Array)]).toEqual(losses);
      expect(results.best).toHaveLength(6 * (to - from));
    }
    expect(await many.getState()).toEqual(await one.getState());
  } finally {
    await one.dispose();
    await many.dispose();
  }
});

test('a program that is fed nothing runs all its steps', async () => {
  const session = await e.compile(e.program({ count: e.add(e.state('count', []), 1) }), { steps: 3 });
  try {
    for (let calls = 1; calls <= 3; calls++) {
      expect(await session.run({})).toEqual({});
      expect((await session.getState()).count[0]).toBe(3 * calls);
    }
  } finally {
    await session.dispose();
  }
});

test('a result may be a state as it was, or another view of it', async () => {
  const [x, count] = [e.input('x', 'float32', [2]), e.state('count', [2])];
  const next = e.add(count, x);
  const results = {
    before: count,
    view: e.reshape(count, [2, 1]),
    same: e.mul(count, 1),
    sum: e.sum(count),
    after: next,
  };
  const session = await e.compile(e.program({ count: next, ...results }), { steps: 4 });
  try {
    for (let first = 0; first < 12; first += 4) {
      const made = await session.run({ x: new Float32Array(8).fill(1) });
      const twice = [0, 1, 2, 3].flatMap(i => [first + i, first + i]);
      expect({ ...made }).toEqual({
        ...Object.fromEntries(['before', 'view', 'same'].map(name => [name, Float32Array.from(twice)])),
        sum: Float32Array.from([0, 1, 2, 3], i => 2 * (first + i)),
        after: Float32Array.from(twice, v => v + 1),
      });
    }
  } finally {
    await session.dispose();
  }
});

test('a call takes stacks of one length, and a whole number of steps', async () => {
  const session = await e.compile(training(), { threads: 1, steps: 2 });
  const { feeds } = drawn();
  try {
    const refused = (changes: Record<string, e.TensorData>, message: string) =>
      expect(session.run({ ...stacked(feeds.slice(0, 2)), ...changes })).rejects.toMatchObject({
        code: 'FEED',
        message,
      });
    await refused(
      stacked(feeds.slice(0, 3)),
      "input 'x' takes Float32Array of shape [2, 6, 4], not Float32Array of length 72",
    );
    await refused(
      { x: new Float32Array(25) },
      "input 'x' takes Float32Array of shape [2, 6, 4], not Float32Array of length 25",
    );
    await refused(
      { rate: feeds[0].rate },
      "input 'rate' takes Float32Array of shape [2], not Float32Array of length 1",
    );
    await refused({ x: feeds[0].x }, "input 'labels' takes Int32Array of shape [1, 6], not Int32Array of length 12");
  } finally {
    await session.dispose();
  }
  for (const steps of [0, 1.5]) {
    await expect(e.compile(training(), { steps })).rejects.toMatchObject({ code: 'STEPS' });
  }
});
