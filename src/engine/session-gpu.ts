/**
 * A session whose states stay in the memory of the GPU: outputs are left there and fed back, so that only feeds and results
 * move between host and device.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf } from '../errors.ts';
import type { TensorData } from './graph.ts';
import { Message, modelProto, nodeProto } from './proto.ts';
import type { OpenSession, SessionPlan } from './session-plan.ts';
import { sizeOf } from './shape.ts';
import { ARRAYS } from './tensor-data.ts';

/** Opens a plan. */
export async function openOnGpu({ model, inputs, outputs, options }: SessionPlan): Promise<OpenSession> {
  const known = new Map(inputs.map(input => [input.name, input]));
  const kept = new Map(inputs.filter(({ state }) => state).map(input => [input.name, input.dtype === 'float32']));
  const places = outputs.map(({ name, feeds }) => [name, feeds && kept.get(feeds) ? 'gpu-buffer' : 'cpu'] as const);
  const session = await InferenceSession.create(model, {
    ...options,
    preferredOutputLocation: Object.fromEntries(places),
  });
  // The binding of 1.30 cannot read a tensor of the GPU, and has no way to make one; a copy as a graph does both.
  // Profiles are named by the second, so one of theirs could be written over the program's.
  const copies = { ...options, enableProfiling: false };
  const upload = await InferenceSession.create(copyModel(), { ...copies, preferredOutputLocation: 'gpu-buffer' });
  const download = await InferenceSession.create(copyModel(), copies);
  const states = new Map<string, Tensor>();
  const tensorOf = (name: string, data: TensorData): Tensor => {
    const { dtype, shape } = known.get(name)!;
    return new Tensor(dtype, data as Float32Array, shape);
  };
  const zeros = (name: string): TensorData => {
    const { dtype, shape } = known.get(name)!;
    return new ARRAYS[dtype](sizeOf(shape));
  };
  const put = (name: string, tensor: Tensor): void => {
    release(states.get(name));
    states.set(name, tensor);
  };
  const send = async (name: string, data: TensorData): Promise<Tensor> => {
    const tensor = tensorOf(name, data);
    return kept.get(name) ? ((await upload.run({ x: tensor })).y as Tensor) : tensor;
  };
  const current = async (name: string): Promise<Tensor> => {
    if (!states.has(name)) states.set(name, await send(name, zeros(name)));
    return states.get(name)!;
  };
  return {
    getsCopies: false,
    async run(data) {
      const feeds: Record<string, Tensor> = {};
      for (const { name, state } of inputs) feeds[name] = state ? await current(name) : tensorOf(name, data[name]);
      const made = await session.run(feeds).catch(clearly);
      const results: Record<string, TensorData> = {};
      for (const { name, feeds: target } of outputs) {
        if (target) put(target, made[name] as Tensor);
        else results[name] = made[name].data as TensorData;
      }
      return results;
    },
    async set(data) {
      for (const [name, values] of Object.entries(data)) put(name, await send(name, values));
    },
    async get(names) {
      const values: Record<string, TensorData> = {};
      for (const name of names) {
        const tensor = await current(name);
        const read = tensor.location === 'cpu' ? tensor : (await download.run({ x: tensor })).y;
        values[name] = read.data as TensorData;
      }
      return values;
    },
    async release() {
      for (const tensor of states.values()) release(tensor);
      for (const opened of [session, upload, download]) await opened.release();
    },
  };
}

/** Dawn says this of a shader, once it meets one. */
function clearly(error: unknown): never {
  const lacking = messageOf(error).includes('requires f16 but the device does not support it');
  throw lacking ? new Error('this GPU computes no float16 with webgpu; use --precision fp32') : error;
}

function release(tensor: Tensor | undefined): void {
  if (tensor && tensor.location !== 'cpu') tensor.dispose();
}

/** y = x, float32 of any shape. */
function copyModel(): Uint8Array {
  const value = (name: string): Message =>
    new Message().string(1, name).message(2, new Message().message(1, new Message().int(1, 1)));
  const nodes = [nodeProto({ type: 'Identity', inputs: ['x'], outputs: ['y'] })];
  return modelProto({ nodes, initializers: [], inputs: [value('x')], outputs: [value('y')] });
}
