/** What a session answers to wrong feeds, wrong options, failing runs and missing devices. */
import { describe, expect, it } from 'vitest';
import * as e from './index.ts';

/** y = x·w and the state w ← w + x. */
async function counter(): Promise<e.Session> {
  const x = e.input('x', 'float32', [4]);
  const w = e.state('w', [4]);
  return e.compile(e.program({ y: e.mul(x, w), w: e.add(w, x) }), { threads: 1 });
}

const trivial = (): e.Program => e.program({ y: e.neg(e.input('x', 'float32', [1])) });

describe('wrong use', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['a missing feed', {}, "input 'x' was not fed"],
    ['an inherited name', Object.create({ x: new Float32Array(4) }) as Record<string, unknown>, "'x' was not fed"],
    ['an unknown feed', { x: new Float32Array(4), z: new Float32Array(4) }, "there is no input 'z'"],
    ['a state as feed', { x: new Float32Array(4), w: new Float32Array(4) }, "there is no input 'w'"],
    ['a wrong length', { x: new Float32Array(5) }, "'x' takes Float32Array of shape [4], not Float32Array of length 5"],
    ['a wrong type', { x: new Float64Array(4) }, 'not Float64Array of length 4'],
    ['a plain array', { x: [1, 2, 3, 4] }, 'not Array of length 4'],
    ['nothing', { x: undefined }, 'not undefined'],
    ['a number where there is no scalar', { x: 1 }, "'x' takes Float32Array of shape [4], not the number 1"],
  ])('%s is one clear line', async (_, feeds, text) => {
    const session = await counter();
    await expect(session.run(feeds as Record<string, e.TensorData>)).rejects.toThrow(text);
    // The session goes on.
    expect((await session.run({ x: new Float32Array(4) })).y).toEqual(new Float32Array(4));
    await session.dispose();
  });

  it('of a number for a scalar that cannot hold it is one clear line', async () => {
    const n = e.input('n', 'int32', []);
    const half = e.input('half', 'float16', []);
    const session = await e.compile(e.program({ y: e.add(n, 1), z: e.neg(half) }), { threads: 1 });
    const bits = Uint16Array.of(0x3c00);
    await expect(session.run({ n: 0.5, half: bits })).rejects.toThrow(
      "'n' takes Int32Array of shape [], not the number 0.5",
    );
    await expect(session.run({ n: 1, half: 1 })).rejects.toThrow(
      "'half' takes Uint16Array of shape [], not the number 1",
    );
    expect(await session.run({ n: 1, half: bits })).toEqual({ y: Int32Array.of(2), z: Uint16Array.of(0xbc00) });
    await session.dispose();
  });

  it('of tensors in the place of a program is one clear line', async () => {
    const y = e.neg(e.input('x', 'float32', [1]));
    await expect(e.compile({ y } as never)).rejects.toMatchObject({
      code: 'GRAPH',
      message: 'compile takes a program',
    });
  });

  it('of states is one clear line', async () => {
    const session = await counter();
    await expect(session.setState({ v: new Float32Array(4) })).rejects.toThrow("there is no state 'v'");
    await expect(session.setState({ w: new Float32Array(3) })).rejects.toThrow('not Float32Array of length 3');
    await expect(session.getState(['v'])).rejects.toThrow("there is no state 'v'");
    await session.dispose();
  });

  it.each([0, -1, 1.5, Number.NaN])('of %s threads is one clear line', async threads => {
    await expect(e.compile(trivial(), { threads })).rejects.toThrow(`cannot run on ${threads} threads`);
  });

  it('of an unknown device is one clear line', async () => {
    await expect(e.compile(trivial(), { device: 'tpu' as e.Device })).rejects.toMatchObject({
      code: 'DEVICE',
      message: "unknown device 'tpu'",
      hint: 'Use cpu, webgpu, cuda or auto.',
    });
  });

  it('a run that needs more memory than there is says what helps', async () => {
    const x = e.input('x', 'float32', [1]);
    const huge = e.expand(x, [2 ** 24, 2 ** 24]);
    const session = await e.compile(e.program({ y: e.sum(e.mul(huge, huge)) }), { threads: 1 });
    await expect(session.run({ x: Float32Array.of(1) })).rejects.toMatchObject({
      code: 'RUN',
      hint: expect.stringContaining('a smaller batch'),
    });
    await session.dispose();
  });

  it('a run that ONNX Runtime refuses leaves the state and the session as they were', async () => {
    const x = e.input('x', 'int32', [1]);
    const w = e.state('w', [3]);
    const session = await e.compile(e.program({ w: e.add(w, e.gather(w, x)) }), { threads: 1 });
    await session.setState({ w: Float32Array.of(1, 2, 3) });
    await expect(session.run({ x: Int32Array.of(7) })).rejects.toMatchObject({ code: 'RUN' });
    expect(await session.getState()).toEqual({ w: Float32Array.of(1, 2, 3) });
    await session.run({ x: Int32Array.of(1) });
    expect(await session.getState()).toEqual({ w: Float32Array.of(3, 4, 5) });
    await session.dispose();
  });
});

describe('webgpu', () => {
  it('works, or says in one line that there is no GPU', async () => {
    const x = e.input('x', 'float32', [2, 2]);
    const opened = await e
      .compile(e.program({ y: e.matMul(x, x) }), { device: 'webgpu' })
      .catch((error: unknown) => error);
    if (opened instanceof Error) {
      expect(opened).toMatchObject({ code: 'DEVICE', message: 'this machine has no GPU that webgpu can use' });
      return;
    }
    const session = opened as e.Session;
    expect((await session.run({ x: Float32Array.of(1, 2, 3, 4) })).y).toBeAllclose([7, 10, 15, 22]);
    await session.dispose();
  });
});
