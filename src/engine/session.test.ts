/** Sessions: the event loop stays free, state is fed back without growth, buffers are the caller's, ends are clean. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { random } from '../random.ts';
import * as e from './index.ts';

const normal = (size: number, seed = 0): Float32Array => {
  const r = random(seed, 'session-test');
  return Float32Array.from({ length: size }, () => r.normal());
};

/** A program whose one run takes long: `count` products of 256×256 matrices, each on the one before. */
function longProgram(count: number): e.Program {
  const x = e.input('x', 'float32', [256, 256]);
  let y: e.Tensor = x;
  for (let i = 0; i < count; i++) y = e.matMul(y, x, { alpha: 1 / 256 });
  return e.program({ y: e.sum(y) });
}

/** y = x·w and the state w ← w + x. */
async function counter(): Promise<e.Session> {
  const x = e.input('x', 'float32', [4]);
  const w = e.state('w', [4]);
  return e.compile(e.program({ y: e.mul(x, w), w: e.add(w, x) }), { threads: 1 });
}

describe('a session', () => {
  it('leaves the event loop free while it runs', async () => {
    const session = await e.compile(longProgram(400), { threads: 1 });
    const feeds = { x: normal(256 * 256) };
    await session.run(feeds);
    let ticks = 0;
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      ticks++;
      longest = Math.max(longest, now - last);
      last = now;
    }, 2);
    const start = performance.now();
    await session.run(feeds);
    const took = performance.now() - start;
    clearInterval(timer);
    await session.dispose();
    expect(took).toBeGreaterThan(50);
    // Were the run on this thread, no tick would fire before its end. The bounds leave room for a busy machine.
    expect(ticks).toBeGreaterThan(5);
    expect(longest).toBeLessThan(took * 0.8);
  });

  it('takes numbers for scalars, of inputs and of states', async () => {
    const types = ['float32', 'float64', 'int32', 'int64', 'uint8', 'bool'] as const;
    const inputs = types.map(type => e.input(type, type, []));
    const kept = e.state('kept', []);
    const outputs = Object.fromEntries(inputs.map(x => [`of ${x.dtype}`, e.cast(x, 'float64')]));
    const session = await e.compile(e.program({ ...outputs, kept: e.add(kept, inputs[0]) }), { threads: 1 });
    await session.setState({ kept: 4 });
    const feeds = { float32: 0.5, float64: 0.1, int32: -3, int64: 2 ** 40, uint8: 200, bool: 1 };
    expect(await session.run(feeds)).toEqual(
      Object.fromEntries(Object.entries(feeds).map(([type, value]) => [`of ${type}`, Float64Array.of(value)])),
    );
    expect(await session.getState()).toEqual({ kept: Float32Array.of(4.5) });
    await session.dispose();
  });

  it('of a program without inputs runs without feeds', async () => {
    const w = e.state('w', []);
    const session = await e.compile(e.program({ y: e.add(w, 2) }), { threads: 1 });
    expect(await session.run()).toEqual({ y: Float32Array.of(2) });
    await session.dispose();
  });

  it('feeds state back over 1,000 runs without growing memory', async () => {
    const rate = e.input('rate', 'float32', []);
    const names = ['a', 'b', 'c', 'd'];
    const weights = names.map(name => e.state(name, [256, 256]));
    const session = await e.compile(
      e.program({
        total: e.sum(weights[0]),
        ...Object.fromEntries(names.map((name, i) => [name, e.add(weights[i], rate)])),
      }),
      { threads: 1 },
    );
    const feeds = { rate: Float32Array.of(0.5) };
    const steps = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await session.run(feeds);
    };
    await steps(100);
    const before = process.memoryUsage().rss;
    await steps(1000);
    const grown = process.memoryUsage().rss - before;
    const { d } = await session.getState(['d']);
    await session.dispose();
    // Sums of halves are exact in float32.
    expect((d as Float32Array).every(value => value === 550)).toBe(true);
    // The state is 1 MiB, so a session that kept it at every run would grow by 1,000 MiB.
    expect(grown).toBeLessThan(100 * 2 ** 20);
  });

  it('starts states at zero, takes and gives them', async () => {
    const session = await counter();
    const x = Float32Array.of(1, 2, 3, 4);
    expect(await session.getState()).toEqual({ w: new Float32Array(4) });
    await session.setState({ w: Float32Array.of(10, 10, 10, 10) });
    expect(await session.run({ x })).toEqual({ y: Float32Array.of(10, 20, 30, 40) });
    expect(await session.run({ x })).toEqual({ y: Float32Array.of(11, 24, 39, 56) });
    expect(await session.getState(['w'])).toEqual({ w: Float32Array.of(12, 14, 16, 18) });
    await session.dispose();
  });

  it('makes constants of frozen states at its first run, and then neither sets nor reads them', async () => {
    const x = e.input('x', 'float32', [2]);
    const [w, count] = [e.state('w', [2]), e.state('count', [])];
    const graph = e.program({ y: e.mul(x, w), count: e.add(count, 1) });
    const session = await e.compile(graph, { threads: 1, frozen: true });
    await session.setState({ w: Float32Array.of(5, 5) });
    await session.setState({ w: Float32Array.of(2, 3) });
    expect(await session.getState()).toEqual({ w: Float32Array.of(2, 3), count: Float32Array.of(0) });
    for (let i = 1; i <= 2; i++) {
      expect(await session.run({ x: Float32Array.of(i, 10) })).toEqual({ y: Float32Array.of(2 * i, 30) });
    }
    expect(await session.getState(['count'])).toEqual({ count: Float32Array.of(2) });
    await expect(session.setState({ w: Float32Array.of(1, 1) })).rejects.toThrow(
      "'w' is a constant since the first run",
    );
    await expect(session.getState()).rejects.toThrow("'w' is a constant since the first run");
    await session.dispose();
    const unused = await e.compile(graph, { threads: 1, frozen: true });
    await unused.dispose();
  });

  it('copies what it is given, or takes it, and never reads shared memory after', async () => {
    const session = await counter();
    const kept = Float32Array.of(1, 2, 3, 4);
    await session.setState({ w: kept });
    kept.fill(0);
    expect(await session.getState()).toEqual({ w: Float32Array.of(1, 2, 3, 4) });
    const moved = Float32Array.of(5, 6, 7, 8);
    await session.setState({ w: moved }, { move: true });
    expect(moved.length).toBe(0);
    expect(await session.getState()).toEqual({ w: Float32Array.of(5, 6, 7, 8) });
    const shared = new Float32Array(new SharedArrayBuffer(16)).fill(9);
    await session.setState({ w: shared }, { move: true });
    shared.fill(0);
    expect(await session.getState()).toEqual({ w: new Float32Array(4).fill(9) });
    await session.dispose();
  });

  it('gives two states that are set from one array memory of their own', async () => {
    const [a, b] = [e.state('a', [2]), e.state('b', [2])];
    const session = await e.compile(e.program({ a: e.add(a, 1), b: e.add(b, 10) }));
    const start = new Float32Array(2);
    await session.setState({ a: start, b: start });
    for (let i = 0; i < 3; i++) await session.run({});
    expect(await session.getState()).toEqual({ a: Float32Array.of(3, 3), b: Float32Array.of(30, 30) });
    await session.dispose();
  });

  it('exchanges two states in one run', async () => {
    const a = e.state('a', [1]);
    const b = e.state('b', [1]);
    const session = await e.compile(e.program({ a: b, b: a }));
    await session.setState({ a: Float32Array.of(1), b: Float32Array.of(2) });
    for (const [first, second] of [
      [2, 1],
      [1, 2],
    ]) {
      await session.run({});
      expect(await session.getState()).toEqual({ a: Float32Array.of(first), b: Float32Array.of(second) });
    }
    await session.dispose();
  });

  it('copies feeds and results, so that the caller may reuse the one and keep the other', async () => {
    const session = await counter();
    const x = Float32Array.of(1, 1, 1, 1);
    const initial = Float32Array.of(5, 6, 7, 8);
    const set = session.setState({ w: initial });
    initial.fill(0);
    await set;
    const running = session.run({ x });
    x.fill(100);
    const first = await running;
    const held = await session.getState();
    const second = await session.run({ x });
    expect(first.y).toEqual(Float32Array.of(5, 6, 7, 8));
    expect(held.w).toEqual(Float32Array.of(6, 7, 8, 9));
    expect(second.y).toEqual(Float32Array.of(600, 700, 800, 900));
    (held.w as Float32Array).fill(-1);
    expect((await session.getState()).w).toEqual(Float32Array.of(106, 107, 108, 109));
    await session.dispose();
  });

  it('takes a part of a larger buffer for what it is', async () => {
    const session = await counter();
    const whole = Float32Array.from({ length: 1000 }, (_, i) => i);
    await session.setState({ w: whole.subarray(10, 14) });
    expect((await session.run({ x: whole.subarray(1, 5) })).y).toEqual(Float32Array.of(10, 22, 36, 52));
    expect(whole[999]).toBe(999);
    await session.dispose();
  });

  it('carries every element type both ways', async () => {
    const values: [e.DType, e.TensorData][] = [
      ['float32', Float32Array.of(1.5, -2)],
      ['float64', Float64Array.of(1 / 3, -1e300)],
      ['float16', Uint16Array.of(0x3c01, 0xfbff)],
      ['int64', BigInt64Array.of(-(2n ** 62n), 7n)],
      ['int32', Int32Array.of(-(2 ** 31), 7)],
      ['uint8', Uint8Array.of(0, 255)],
      ['bool', Uint8Array.of(1, 0)],
    ];
    const inputs = values.map(([dtype]) => e.input(`x-${dtype}`, dtype, [2]));
    const states = values.map(([dtype]) => e.state(`s-${dtype}`, [2], dtype));
    const outputs = Object.fromEntries([
      ...values.map(([dtype], i) => [`y-${dtype}`, states[i]]),
      ...values.map(([dtype], i) => [`s-${dtype}`, inputs[i]]),
    ]);
    const session = await e.compile(e.program(outputs));
    const feeds = Object.fromEntries(values.map(([dtype, data]) => [`x-${dtype}`, data]));
    await session.run(feeds);
    const back = await session.run(feeds);
    for (const [dtype, data] of values) expect(back[`y-${dtype}`], dtype).toEqual(data);
    await session.dispose();
  });

  it('gives the same bits again', async () => {
    const x = e.input('x', 'float32', [64, 96]);
    const w = e.input('w', 'float32', [96, 80]);
    const y = e.softmax(e.matMul(x, w));
    const program = e.program({ y, ...named(e.gradient(e.mean(e.square(y)), [x, w])) });
    const feeds = { x: normal(64 * 96, 1), w: normal(96 * 80, 2) };
    const results = [];
    for (const threads of [2, 2]) {
      const session = await e.compile(program, { threads });
      results.push(await session.run(feeds), await session.run(feeds));
      await session.dispose();
    }
    for (const result of results.slice(1)) expect(result).toEqual(results[0]);
  });

  it('keeps two sessions apart that run at once', async () => {
    const [one, two] = [await counter(), await counter()];
    await one.setState({ w: new Float32Array(4).fill(1) });
    await two.setState({ w: new Float32Array(4).fill(1000) });
    const x = new Float32Array(4).fill(1);
    const runs = Array.from({ length: 50 }, () => [one.run({ x }), two.run({ x })]);
    const results = await Promise.all(runs.flat());
    results.forEach(({ y }, i) => {
      expect(y[0]).toBe((i % 2 === 0 ? 1 : 1000) + Math.floor(i / 2));
    });
    await Promise.all([one.dispose(), two.dispose()]);
  });

  it.runIf(process.platform === 'linux')('runs on the number of threads it is told', async () => {
    const count = (): number => readdirSync('/proc/self/task').length;
    const added: number[] = [];
    // The first session also starts threads that Node keeps, so it does not count.
    for (const threads of [1, 1, 2, 5]) {
      const before = count();
      const session = await e.compile(longProgram(1), { threads });
      await session.run({ x: normal(256 * 256) });
      added.push(count() - before);
      await session.dispose();
    }
    // The worker itself counts for one of them, so each further thread is one more.
    expect(added.slice(1).map(n => n - added[1])).toEqual([0, 1, 4]);
  });
});

describe('the end of a session', () => {
  const message = 'the session has been disposed';

  it('comes once, and later questions say so', async () => {
    const session = await counter();
    await Promise.all([session.dispose(), session.dispose()]);
    await session.dispose();
    await expect(session.run({ x: new Float32Array(4) })).rejects.toThrow(message);
    await expect(session.setState({ w: new Float32Array(4) })).rejects.toThrow(message);
    await expect(session.getState()).rejects.toThrow(message);
  });

  it('waits for runs under way and takes no new ones', async () => {
    const session = await e.compile(longProgram(50), { threads: 1 });
    const feeds = { x: normal(256 * 256) };
    const under = [session.run(feeds), session.run(feeds)];
    const ending = session.dispose();
    const late = session.run(feeds);
    await expect(late).rejects.toThrow(message);
    const [first, second] = await Promise.all(under);
    expect(first.y).toEqual(second.y);
    await ending;
  });

  it('is not needed for the process to end, nor harmful at its end', () => {
    const engine = new URL('../../dist/src/engine/index.js', import.meta.url).href;
    const script = `
      import { compile, input, mul, program } from ${JSON.stringify(engine)};
      const session = await compile(program({ y: mul(input('x', 'float32', [2]), 3) }));
      const { y } = await session.run({ x: Float32Array.of(1, 2) });
      console.log([...y].join());`;
    const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(output).toBe('3,6\n');
  });
});

const named = (tensors: e.Tensor[]): Record<string, e.Tensor> =>
  Object.fromEntries(tensors.map((tensor, i) => [`g${i}`, tensor]));
