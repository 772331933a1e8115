/**
 * The thread that owns an ONNX Runtime session: `run` blocks, so it must not block the caller.
 *
 * On a GPU state stays there (session-gpu.ts). On the CPU it lives here, in buffers that ONNX Runtime reads and writes without a
 * copy. A state that is written in place (in-place.ts) has one; others have two that swap after each run. What a kernel updates
 * (fused-states.ts) lies in its memory, the gradients too.
 *
 * ONNX Runtime fills these buffers and then its Node binding, as of 1.30, copies every output once more into a new array,
 * which takes longer than the update of the weights. Nobody needs these arrays, so the first output of the graph is one that the
 * binding has no array for: it gives up there, with everything computed and nothing copied. A binding that knew such outputs
 * would copy as before, and the results would be the same.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf } from '../errors.ts';
import { copyCommon } from './copy-common.ts';
import { discard } from './discard.ts';
import { fusedStates } from './fused-states.ts';
import type { DType, TensorData } from './graph.ts';
import type { SessionPlan, WorkerReply, WorkerRequest } from './session.ts';
import { type GpuSession, openOnGpu } from './session-gpu.ts';
import { sizeOf } from './shape.ts';

const plan = workerData as SessionPlan;
const { model, inputs, outputs, updates, unread, options } = plan;
const port = parentPort!;

const arrayOf = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/** A tensor with the array under it: where Float16Array exists, the tensor's own view of float16 bits is another one. */
interface Slot {
  readonly data: TensorData;
  readonly tensor: Tensor;
}

function blank(name: string, dtype: DType, shape: readonly number[]): Slot {
  const data = fused.arrayOf(name) ?? new arrayOf[dtype](sizeOf(shape));
  return { data, tensor: tensorOf(dtype, data, shape) };
}

function tensorOf(dtype: DType, data: TensorData, shape: readonly number[]): Tensor {
  return new Tensor(dtype, data as Float32Array, shape);
}

const fused = fusedStates(updates);
const known = new Map(inputs.map(input => [input.name, input]));
const current = new Map<string, Slot>();
const next = new Map<string, Slot>();
const results = new Map<string, Slot>();
const swapped = outputs.filter(({ feeds, inPlace }) => feeds && !inPlace).map(({ feeds }) => feeds!);

// The others are read by updates.
const returned = outputs.filter(({ name, feeds }) => !feeds && !name.startsWith(':')).map(({ name }) => name);

const frozen = inputs.filter(input => input.frozen).map(({ name }) => name);
let session: InferenceSession | undefined;
let gpu: GpuSession | undefined;

async function openGpu(): Promise<GpuSession> {
  const tensor = (name: string, data: TensorData): Tensor => {
    const { dtype, shape } = known.get(name)!;
    return tensorOf(dtype, data, shape);
  };
  const zeros = (name: string): TensorData => {
    const { dtype, shape } = known.get(name)!;
    return blank(name, dtype, shape).data;
  };
  return openOnGpu(plan, tensor, zeros);
}

async function start(): Promise<void> {
  if (plan.device === 'webgpu') {
    gpu = await openGpu();
    return;
  }
  if (frozen.length === 0) session = await InferenceSession.create(model, options);
  for (const { dtype, shape, feeds, name, inPlace } of outputs) {
    if (!feeds) results.set(name, blank(name, dtype, shape));
    else if (!inPlace) next.set(feeds, blank(name, dtype, shape));
  }
}

/** A state; one that was never set is zero, and has its memory only now. */
function stateOf(name: string): Slot {
  const there = current.get(name);
  if (there) return there;
  const { dtype, shape } = known.get(name)!;
  const made = blank(name, dtype, shape);
  current.set(name, made);
  return made;
}

/** The values of a state as the caller knows it. */
function valuesOf(name: string): TensorData {
  const { data } = stateOf(name);
  const { dtype, shape, given } = known.get(name)!;
  // A copy, which the message takes along: with an array of a kernel it would take the whole memory.
  if (data.length === sizeOf(given)) return data.slice();
  const values = new arrayOf[dtype](sizeOf(given));
  copyCommon(data, shape, values, given);
  return values;
}

/** Constants have their values when the first run comes; ONNX Runtime keeps its own copy of them. */
async function freeze(): Promise<InferenceSession> {
  const externalData = frozen.map(name => {
    const { buffer, byteOffset, byteLength } = stateOf(name).data;
    return { path: name, data: new Uint8Array(buffer, byteOffset, byteLength) };
  });
  const made = await InferenceSession.create(model, { ...options, externalData });
  discard(frozen.map(name => current.get(name)!.data));
  for (const name of frozen) current.delete(name);
  return made;
}

async function run(data: Record<string, TensorData>): Promise<Record<string, TensorData>> {
  session ??= await freeze();
  const feeds: Record<string, Tensor> = {};
  for (const { name, dtype, shape, state, frozen: constant, read } of inputs) {
    if (constant || !read) continue;
    feeds[name] = state ? stateOf(name).tensor : tensorOf(dtype, data[name], shape);
  }
  const fetches: Record<string, Tensor | null> = { [unread]: null };
  for (const { name, feeds: target, inPlace } of outputs) {
    fetches[name] = (target ? (inPlace ? stateOf(target) : next.get(target)!) : results.get(name)!).tensor;
  }
  try {
    await session.run(feeds, fetches);
  } catch (error) {
    if (!messageOf(error).startsWith('Non tensor type is temporarily not supported')) throw error;
  }
  for (const name of swapped) {
    const read = current.get(name)!;
    current.set(name, next.get(name)!);
    next.set(name, read);
  }
  fused.update(name => results.get(name)!.data);
  return Object.fromEntries(returned.map(name => [name, results.get(name)!.data]));
}

async function answer(request: WorkerRequest): Promise<WorkerReply['value']> {
  return gpu ? answerFromGpu(gpu, request) : answerHere(request);
}

async function answerFromGpu(opened: GpuSession, request: WorkerRequest): Promise<WorkerReply['value']> {
  if (request.kind === 'run') return opened.run(request.data);
  if (request.kind === 'get') return opened.get(request.names);
  if (request.kind === 'set') await opened.set(request.data);
  else await opened.release();
  return undefined;
}

async function answerHere(request: WorkerRequest): Promise<WorkerReply['value']> {
  if (request.kind === 'run') return run(request.data);
  const asked = request.kind === 'set' ? Object.keys(request.data) : request.kind === 'get' ? request.names : [];
  const late = session && asked.find(name => frozen.includes(name));
  if (late !== undefined) throw new Error(`the state '${late}' is a constant since the first run`);
  if (request.kind === 'set') {
    // What arrives is this thread's own, so it takes the place of the slot's array and large weights are never
    // held twice; memory that is shared stays the caller's and is copied. So is an array that came under several names (a
    // student and a teacher that start alike): it arrives as one, and each state needs memory of its own.
    const taken = new Set<ArrayBufferLike>();
    const copied: TensorData[] = [];
    for (const { name, dtype, shape, given } of inputs) {
      const data = request.data[name];
      if (!data) continue;
      const fits = data.length === sizeOf(shape);
      if (fits && data.buffer instanceof ArrayBuffer && !taken.has(data.buffer) && !fused.arrayOf(name)) {
        taken.add(data.buffer);
        current.set(name, { data, tensor: tensorOf(dtype, data, shape) });
      } else {
        copyCommon(data, given, stateOf(name).data, shape);
        copied.push(data);
      }
    }
    discard(copied.filter(({ buffer }) => !taken.has(buffer)));
    return undefined;
  }
  if (request.kind === 'get') {
    return Object.fromEntries(request.names.map(name => [name, valuesOf(name)]));
  }
  if (options.enableProfiling) session?.endProfiling();
  await session?.release();
  return undefined;
}

/** @param moved the value is no longer wanted here */
async function reply(id: number, work: Promise<WorkerReply['value']>, moved = false): Promise<void> {
  try {
    const value = await work;
    const buffers = moved ? Object.values(value ?? {}).map(({ buffer }) => buffer as ArrayBuffer) : [];
    port.postMessage({ id, value } satisfies WorkerReply, buffers);
  } catch (error) {
    port.postMessage({ id, error: error instanceof Error ? error.message : String(error) } satisfies WorkerReply);
  }
}

let queue = reply(
  0,
  start().then(() => undefined),
);
port.on('message', (request: WorkerRequest) => {
  queue = queue.then(() => reply(request.id, answer(request), request.kind === 'get' && !gpu));
});
