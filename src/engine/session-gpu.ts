/**
 * A session whose states stay in the memory of the GPU: outputs are left there and fed back, so that only feeds and results
 * move between host and device.
 *
 * A run of ONNX Runtime ends when all is sent to the GPU; what waits for the GPU is the reading of a result. So results are read
 * after the feeds of the next run are sent, where these are there by then.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf } from '../errors.ts';
import type { TensorData } from './graph.ts';
import { Message, modelProto, nodeProto } from './proto.ts';
import type { OpenSession, PlannedOutput, SessionPlan } from './session-plan.ts';
import { sizeOf } from './shape.ts';
import { ARRAYS } from './tensor-data.ts';

/** Opens a plan. */
export async function openOnGpu({ model, inputs, outputs, options }: SessionPlan): Promise<OpenSession> {
  const known = new Map(inputs.map(input => [input.name, input]));
  const kept = new Map(inputs.filter(({ state }) => state).map(input => [input.name, input.dtype === 'float32']));
  const trains = outputs.some(({ feeds }) => feeds !== undefined);
  const stays = ({ feeds, dtype }: PlannedOutput): boolean =>
    feeds === undefined ? trains && dtype === 'float32' : kept.get(feeds) === true;
  const places = outputs.map(output => [output.name, stays(output) ? 'gpu-buffer' : 'cpu'] as const);
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
  const staged = new Map<number, StagedFeeds>();
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
  const read = async (tensor: Tensor): Promise<TensorData> => {
    const onHost = tensor.location === 'cpu' ? tensor : (await download.run({ x: tensor })).y;
    return onHost.data as TensorData;
  };
  const tensorsOf = (data: Record<string, TensorData>): Record<string, Tensor> =>
    Object.fromEntries(Object.entries(data).map(([name, values]) => [name, tensorOf(name, values)]));
  const sendStaged = async (): Promise<void> => {
    for (const { feeds, free } of staged.values()) {
      for (const [name, tensor] of Object.entries(feeds)) {
        if (tensor.location !== 'cpu') continue;
        // Others are small; the memory under them goes back too.
        const copies = tensor.type !== 'float32' || tensor.size === 1;
        feeds[name] = copies ? copyOf(tensor) : ((await upload.run({ x: tensor })).y as Tensor);
      }
      free();
    }
  };
  return {
    getsCopies: false,
    stage(number, data) {
      return new Promise(free => staged.set(number, { feeds: tensorsOf(data), free }));
    },
    async run(data, number = 0) {
      const taken = staged.get(number);
      staged.delete(number);
      const fed = taken?.feeds ?? tensorsOf(data);
      const feeds = { ...fed };
      for (const { name, state } of inputs) if (state) feeds[name] = await current(name);
      const made = await session.run(feeds).catch(clearly);
      Object.values(fed).forEach(release);
      taken?.free();
      for (const { name, feeds: target } of outputs) if (target) put(target, made[name] as Tensor);
      // What is staged comes as a message.
      await turn();
      await sendStaged();
      const results: Record<string, TensorData> = {};
      for (const { name, feeds: target } of outputs) {
        if (target) continue;
        results[name] = await read(made[name] as Tensor);
        release(made[name] as Tensor);
      }
      return results;
    },
    async set(data) {
      for (const [name, values] of Object.entries(data)) put(name, await send(name, values));
    },
    async get(names) {
      const values: Record<string, TensorData> = {};
      for (const name of names) values[name] = await read(await current(name));
      return values;
    },
    async release() {
      for (const tensor of states.values()) release(tensor);
      for (const { feeds, free } of staged.values()) {
        Object.values(feeds).forEach(release);
        free();
      }
      for (const opened of [session, upload, download]) await opened.release();
    },
  };
}

/** Feeds of a later run, on the host or sent to the GPU. */
interface StagedFeeds {
  readonly feeds: Record<string, Tensor>;
  /** Gives the host's memory back. */
  readonly free: () => void;
}

/** Dawn says this of a shader, once it meets one. */
function clearly(error: unknown): never {
  const lacking = messageOf(error).includes('requires f16 but the device does not support it');
  throw lacking ? new Error('this GPU computes no float16 with webgpu; use --precision fp32') : error;
}

function copyOf({ type, data, dims }: Tensor): Tensor {
  return new Tensor(type, (data as Float32Array).slice(), dims);
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
