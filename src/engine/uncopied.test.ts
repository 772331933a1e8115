/** Runs that the binding gives up at have filled what they were given, and those that it does not give up at too. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, it } from 'vitest';
import * as e from './index.ts';
import { toOnnx } from './onnx.ts';
import { fillsUncopied, runInto } from './uncopied.ts';

const x = e.input('x', 'float32', [3]);
const model = toOnnx(e.program({ y: e.neg(x), z: e.add(x, 1) }), { sequence: ':unread' });
const given = (): Tensor => new Tensor('float32', Float32Array.of(1, -2, 4), [3]);

it('is what the binding does that is installed', async () => {
  expect(await fillsUncopied()).toBe(true);
});

it.each([
  ['before all others', { ':unread': null }],
  ['not at all', {}],
])('fills the buffers with the output that the binding has no array for %s', async (_, first) => {
  const session = await InferenceSession.create(model);
  const [y, z] = [new Float32Array(3), new Float32Array(3)];
  const fetches = { ...first, y: new Tensor('float32', y, [3]), z: new Tensor('float32', z, [3]) };
  await runInto(session, { x: given() }, fetches);
  expect([...y]).toEqual([-1, 2, -4]);
  expect([...z]).toEqual([2, -1, 5]);
  await session.release();
});

it('throws what is another failure', async () => {
  const session = await InferenceSession.create(model, { logSeverityLevel: 4 });
  const narrow = new Tensor('float32', new Float32Array(2), [2]);
  await expect(runInto(session, { x: narrow }, {})).rejects.toThrow('invalid dimensions');
  await session.release();
});
