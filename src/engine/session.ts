/** Sessions: a program compiled once by ONNX Runtime, run in a worker thread, with resident state. */
import { Worker } from 'node:worker_threads';
import { messageOf, S3aError } from '../errors.ts';
import { workerUrl } from '../worker-url.ts';
import { channelBlock } from './channel-block.ts';
import { chooseDevice } from './choose-device.ts';
import { hasConvolutions } from './conv-block-steps.ts';
import { cpuProgram } from './cpu-program.ts';
import { DEVICES, type Device, deviceError, missing, type Provider } from './device.ts';
import type { UpdatePlan } from './fused-states.ts';
import type { DType, Program, Tensor, TensorData } from './graph.ts';
import { inPlaceStates } from './in-place.ts';
import { stackedProgram, toLoopOnnx } from './loop-model.ts';
import { outputName, toOnnx } from './onnx.ts';
import { type Shape, showShape, sizeOf } from './shape.ts';

export interface SessionOptions {
  /** Default cpu. */
  device?: Device;
  /** Intra-operator threads; default ONNX Runtime's, one a physical core. */
  threads?: number;
  /**
   * States that the program does not replace become constants at the first run, which ONNX Runtime lays out for its
   * products; from then on they can be neither set nor read. Default false; under WebGPU they stay as they are.
   */
  frozen?: boolean;
  /**
   * On the CPU, updates by `adamW` and `ema` stay in the graph, where a gradient can be gone before the next is made: less memory,
   * more time, the same bits. By default a kernel makes them in one pass after the run. Default false.
   */
  lean?: boolean;
  /**
   * Runs the program so many times in each `run`, in a loop inside the device: feeds and results have an axis of that extent
   * before all others. For the device cuda, where states are on the host between calls. Not under WebGPU.
   */
  steps?: number;
  /** `dispose` writes ONNX Runtime's profile to a file whose path begins so; node names begin with their `within` places. */
  profile?: string;
}

export interface Session {
  /**
   * Runs the program once. Feeds are flat arrays in row-major order; results that are not fed back are returned.
   * Feeds and results are copied between threads, so the caller may reuse the one and keep the other.
   * @throws S3aError FEED when a feed is missing, unknown or of the wrong length or type; RUN after `dispose`, and when ONNX
   * Runtime fails inside a run, after which the state is not to be used.
   */
  run(feeds: Record<string, TensorData>): Promise<Record<string, TensorData>>;
  /**
   * Sets state inputs; those never set are zero. The values are copied, or with `move` handed over, which leaves the
   * caller's arrays empty but holds large weights only once.
   */
  setState(values: Record<string, TensorData>, options?: { move?: boolean }): Promise<void>;
  /** Reads state inputs, by default all. */
  getState(names?: readonly string[]): Promise<Record<string, TensorData>>;
  /** Waits for the runs under way, ends the thread and frees the session; a second call changes nothing. */
  dispose(): Promise<void>;
}

export interface PlannedInput {
  name: string;
  dtype: DType;
  /** As ONNX Runtime has it; a state may be wider than the caller knows it. */
  shape: Shape;
  given: Shape;
  state: boolean;
  /** A constant of the model. */
  frozen: boolean;
  /** False for a state that only updates know. */
  read: boolean;
}

/** What the worker is started with. */
export interface SessionPlan {
  model: Uint8Array;
  inputs: PlannedInput[];
  /** `feeds` is the state that an output replaces; `inPlace`, whether it is written over it. */
  outputs: { name: string; dtype: DType; shape: Shape; feeds: string | undefined; inPlace: boolean }[];
  /** What is updated after the run; outputs whose names begin with a colon are for them alone. */
  updates: readonly UpdatePlan[];
  device: Provider;
  /** With states on the host the output before all others, which stands for nothing (session-worker.ts). */
  unread: string;
  options: Record<string, unknown>;
}

export type WorkerRequest = { id: number } & (
  | { kind: 'run' | 'set'; data: Record<string, TensorData> }
  | { kind: 'get'; names: string[] }
  | { kind: 'dispose' }
);
export interface WorkerReply {
  id: number;
  value?: Record<string, TensorData>;
  error?: string;
}

const ARRAYS: Record<DType, string> = {
  float32: 'Float32Array',
  float64: 'Float64Array',
  float16: 'Uint16Array',
  int64: 'BigInt64Array',
  int32: 'Int32Array',
  uint8: 'Uint8Array',
  bool: 'Uint8Array',
};

/**
 * Compiles a program for a device.
 * @throws S3aError DEVICE when ONNX Runtime cannot build the session there, THREADS when `threads` is no count.
 * @example
 * const x = input('x', 'float32', [2]);
 * const session = await compile(program({ y: mul(x, 3) }));
 * const { y } = await session.run({ x: Float32Array.of(1, 2) }); // 3, 6
 * await session.dispose();
 */
export async function compile(traced: Program, options: SessionOptions = {}): Promise<Session> {
  const { device: asked = 'cpu', threads, frozen = false, lean = false, steps, profile } = options;
  if (!DEVICES.includes(asked)) {
    throw new S3aError('DEVICE', `unknown device '${String(asked)}'`, 'Use cpu, webgpu, cuda or auto.');
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new S3aError('THREADS', `cannot run on ${threads} threads`, 'Use an integer of 1 or more.');
  }
  const { device } = await chooseDevice(asked);
  const lacking = missing(device);
  if (lacking) throw lacking;
  // Under WebGPU states stay in buffers of the GPU. CUDA's cannot be kept by the binding: there too states are on the host, and
  // what moves is least when weights go to the GPU and gradients come back.
  const onHost = device !== 'webgpu';
  if (steps !== undefined && !onHost) {
    throw new S3aError(
      'STEPS',
      'several steps a call do not run on webgpu',
      'States stay on the GPU there in any case.',
    );
  }
  const known = steps === undefined ? traced : stackedProgram(traced, steps);
  const { program, updates, inPlace, shapes } =
    steps !== undefined
      ? { ...asTraced, program: known, inPlace: new Set<string>() }
      : onHost
        ? cpuProgram(traced, lean)
        : { ...asTraced, program: traced, inPlace: inPlaceStates(traced) };
  const constants = new Set(frozen && onHost ? statesOf(program).filter(name => !traced.outputs.has(name)) : []);
  const unread = ':unread';
  const onCpu = device === 'cpu' && steps === undefined;
  const spelling = {
    cpu: onCpu ? { block: hasConvolutions(program) ? await channelBlock() : undefined } : undefined,
    sequence: onHost ? unread : undefined,
    webgpu: device === 'webgpu',
    named: profile !== undefined,
    frozen: constants,
  };
  const plan: SessionPlan = {
    model: steps === undefined ? toOnnx(program, spelling) : toLoopOnnx(traced, steps, spelling),
    device,
    unread,
    updates,
    inputs: [...known.inputs].map(([name, { dtype, shape, source }]) => ({
      name,
      dtype,
      shape: shapes.get(name) ?? shape,
      given: shape,
      state: source.kind === 'input' && source.state,
      frozen: constants.has(name),
      read: program.inputs.has(name),
    })),
    outputs: [...program.outputs].map(([name, { dtype, shape }]) => ({
      name: outputName(program, name),
      dtype,
      shape,
      feeds: program.inputs.has(name) ? name : undefined,
      inPlace: inPlace.has(name),
    })),
    options: {
      executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
      graphOptimizationLevel: 'all',
      // A planned block for all values would lie beside what the first run has taken, which is never given back; a plan is no
      // faster (ViT-B/32, 32 images: 1.2 GiB less).
      enableMemPattern: false,
      // What this fusion makes of the slices of small weights runs before all else, with everything that it needs, and so brings
      // the whole backward pass before the first update: every gradient would live at once.
      extra: { optimization: { disable_specified_optimizers: 'GatherSliceToSplitFusion' } },
      // Errors come as exceptions; ONNX Runtime's own log would only repeat them.
      logSeverityLevel: 4,
      ...(threads ? { intraOpNumThreads: threads } : {}),
      ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
    },
  };
  const thread = new SessionThread(plan);
  try {
    await thread.ready;
  } catch (error) {
    await thread.terminate();
    throw deviceError(device, messageOf(error));
  }
  return sessionOf(known, thread);
}

/** What is not done to a program for another device than the CPU. */
const asTraced = { updates: [], shapes: new Map<string, Shape>() };

function statesOf({ inputs }: Program): string[] {
  return [...inputs].filter(([, { source }]) => source.kind === 'input' && source.state).map(([name]) => name);
}

function sessionOf(program: Program, thread: SessionThread): Session {
  const byRole = (state: boolean): Map<string, Tensor> =>
    new Map([...program.inputs].filter(([, t]) => t.source.kind === 'input' && t.source.state === state));
  const fed = byRole(false);
  const resident = byRole(true);
  return {
    async run(feeds) {
      for (const name of fed.keys()) {
        if (!Object.hasOwn(feeds, name)) throw new S3aError('FEED', `input '${name}' was not fed`);
      }
      checkFeeds(feeds, fed, 'input');
      return (await thread.ask({ kind: 'run', data: compact(feeds) }))!;
    },
    async setState(values, { move = false } = {}) {
      checkFeeds(values, resident, 'state');
      const data = compact(values);
      await thread.ask({ kind: 'set', data }, move ? buffersOf(data) : []);
    },
    async getState(names = [...resident.keys()]) {
      const unknown = names.find(name => !resident.has(name));
      if (unknown !== undefined) throw new S3aError('FEED', `there is no state '${unknown}'`);
      return (await thread.ask({ kind: 'get', names: [...names] }))!;
    },
    dispose: () => thread.dispose(),
  };
}

function checkFeeds(feeds: Record<string, TensorData>, known: Map<string, Tensor>, role: string): void {
  for (const [name, data] of Object.entries(feeds)) {
    const tensor = known.get(name);
    if (!tensor) throw new S3aError('FEED', `there is no ${role} '${name}'`);
    const type = data?.constructor.name;
    if (type !== ARRAYS[tensor.dtype] || data.length !== sizeOf(tensor.shape)) {
      throw new S3aError(
        'FEED',
        `${role} '${name}' takes ${ARRAYS[tensor.dtype]} of shape ${showShape(tensor.shape)}, not ${type} of length ${data?.length}`,
      );
    }
  }
}

type Question = WorkerRequest extends infer R ? (R extends WorkerRequest ? Omit<R, 'id'> : never) : never;

const disposed = (): S3aError => new S3aError('RUN', 'the session has been disposed');

/** Without the rest of a larger buffer, which the copy between threads would take along. */
function compact(values: Record<string, TensorData>): Record<string, TensorData> {
  return Object.fromEntries(
    Object.entries(values).map(([name, data]) => [
      name,
      data.byteLength === data.buffer.byteLength ? data : data.slice(),
    ]),
  );
}

/** The memory under arrays, each once; what is shared between threads already cannot be moved. */
function buffersOf(values: Record<string, TensorData>): ArrayBuffer[] {
  const buffers = Object.values(values).map(({ buffer }) => buffer);
  return [...new Set(buffers)].filter(buffer => buffer instanceof ArrayBuffer);
}

/** The worker and the questions it has not answered yet. */
class SessionThread {
  readonly ready: Promise<unknown>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, { resolve: (value: WorkerReply['value']) => void; reject: (e: Error) => void }>();
  #ended: Error | undefined;
  #disposal: Promise<void> | undefined;
  #id = 0;

  constructor(plan: SessionPlan) {
    this.#worker = new Worker(workerUrl('./session-worker.js', import.meta.url), {
      workerData: plan,
      // Flags of the caller's process such as --input-type do not suit a worker.
      execArgv: [],
    });
    this.ready = new Promise((resolve, reject) => this.#pending.set(0, { resolve, reject }));
    this.#worker.on('message', (reply: WorkerReply) => {
      const waiting = this.#pending.get(reply.id)!;
      this.#pending.delete(reply.id);
      if (this.#pending.size === 0) this.#worker.unref();
      if (reply.error === undefined) waiting.resolve(reply.value);
      else waiting.reject(new S3aError('RUN', `ONNX Runtime: ${reply.error}`));
    });
    this.#worker.on('error', error => this.#end(new S3aError('RUN', `the session's thread died: ${messageOf(error)}`)));
    this.#worker.on('exit', code => this.#end(new S3aError('RUN', `the session's thread ended with code ${code}`)));
  }

  ask(question: Question, moved: ArrayBuffer[] = []): Promise<WorkerReply['value']> {
    return this.#ended ? Promise.reject(this.#ended) : this.#send(question, moved);
  }

  #send(question: Question, moved: ArrayBuffer[] = []): Promise<WorkerReply['value']> {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      // An idle session must not keep the process alive; one with work to do must.
      this.#worker.ref();
      this.#worker.postMessage({ ...question, id } as WorkerRequest, moved);
    });
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    if (this.#ended) return;
    const released = this.#send({ kind: 'dispose' });
    this.#ended = disposed();
    try {
      await released;
    } finally {
      await this.terminate();
    }
  }

  async terminate(): Promise<void> {
    this.#end(disposed());
    await this.#worker.terminate();
  }

  #end(reason: Error): void {
    this.#ended ??= reason;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
