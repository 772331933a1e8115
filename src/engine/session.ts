/** Sessions: a program compiled once by ONNX Runtime, run in a worker thread, with resident state. */
import { messageOf, S3aError } from '../errors.ts';
import { chooseDevice } from './choose-device.ts';
import { DEVICES, type Device, deviceError, missing } from './device.ts';
import type { Program, TensorData } from './graph.ts';
import { stackOf, stepsFed } from './loop-model.ts';
import { type PlannedInput, planOf, type SessionPlan } from './session-plan.ts';
import { SessionThread } from './session-thread.ts';
import { asArrays, buffersOf, checkValues, compact, type Feeds } from './tensor-data.ts';

export interface SessionOptions {
  /** Default cpu. */
  device?: Device;
  /** Intra-operator threads; default ONNX Runtime's, one a physical core. */
  threads?: number;
  /**
   * States that the program does not replace become constants at the first run, which ONNX Runtime lays out for its
   * products; from then on they can be neither set nor read. Default false; under WebGPU they stay as they are. With `cuda` only
   * under CUDA, where states that are no constants move to the card at every run.
   */
  frozen?: boolean | 'cuda';
  /**
   * On the CPU, updates by `adamW` and `ema` stay in the graph, where a gradient can be gone before the next is made: less memory,
   * more time, the same bits. By default a kernel makes them in one pass after the run. Default false.
   */
  lean?: boolean;
  /**
   * Runs the program several times in each `run`, at most so many, in a loop inside the device: feeds and results have an axis of
   * steps before all others. For the device cuda, where states are on the host between calls. Not under WebGPU.
   */
  steps?: number;
  /** `dispose` writes ONNX Runtime's profile to a file whose path begins so; node names begin with their `within` places. */
  profile?: string;
}

/** A compiled program with its states, in a thread of its own. One that is idle does not keep the process alive. */
export interface Session {
  /**
   * Runs the program once. Feeds are flat arrays in row-major order, of the type of their input, or numbers for scalars; results
   * that are not fed back are returned. Runs queue, so any number may be asked for at once.
   * Feeds and results are copied between threads, so the caller may reuse the one and keep the other; with `move` feeds are
   * handed over, which leaves the caller's arrays empty.
   * @throws S3aError FEED when a feed is missing, unknown or of the wrong length or type; RUN after `dispose`, and when ONNX
   * Runtime fails inside a run, after which the state is not to be used.
   */
  run(feeds?: Feeds, options?: { move?: boolean }): Promise<Record<string, TensorData>>;
  /**
   * Copies the feeds of a later run ahead of it. That run is given the same object; a GPU under WebGPU then takes them while it
   * computes the run before. Elsewhere nothing happens.
   * @throws S3aError FEED as `run`
   */
  stage(feeds: Feeds): void;
  /**
   * Sets state inputs; those never set are zero. The values are copied, or with `move` handed over, which leaves the
   * caller's arrays empty but holds large weights only once.
   * @throws S3aError FEED when there is no such state, or a value is of the wrong length or type
   */
  setState(values: Feeds, options?: { move?: boolean }): Promise<void>;
  /** Reads state inputs, by default all. Throws S3aError FEED when there is no such state. */
  getState(names?: readonly string[]): Promise<Record<string, TensorData>>;
  /** Waits for the runs under way, ends the thread and frees the session; a second call changes nothing. */
  dispose(): Promise<void>;
}

/**
 * Compiles a program for a device.
 * @throws S3aError DEVICE when ONNX Runtime cannot build the session there, THREADS when `threads` is no count, STEPS when several
 * steps a call do not run there or `steps` is no count, GRAPH for what is no program, INSTALL where the package is bundled.
 * @example
 * const x = input('x', 'float32', [2]);
 * const session = await compile(program({ y: mul(x, 3) }));
 * const { y } = await session.run({ x: Float32Array.of(1, 2) }); // 3, 6
 * await session.dispose();
 */
export async function compile(traced: Program, options: SessionOptions = {}): Promise<Session> {
  if (!(traced?.outputs instanceof Map)) {
    throw new S3aError('GRAPH', 'compile takes a program', 'Make one of tensors: program({ loss }).');
  }
  const { device: asked = 'cpu', threads, steps } = options;
  if (!DEVICES.includes(asked)) {
    throw new S3aError('DEVICE', `unknown device '${String(asked)}'`, 'Use cpu, webgpu, cuda or auto.');
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new S3aError('THREADS', `cannot run on ${threads} threads`, 'Use an integer of 1 or more.');
  }
  const { device } = await chooseDevice(asked);
  const lacking = missing(device);
  if (lacking) throw lacking;
  if (steps !== undefined && device === 'webgpu') {
    const hint = 'States stay on the GPU there in any case.';
    throw new S3aError('STEPS', 'several steps a call do not run on webgpu', hint);
  }
  const plan = await planOf(traced, device, options);
  const thread = new SessionThread(plan);
  try {
    await thread.ready;
  } catch (error) {
    await thread.terminate();
    throw deviceError(device, messageOf(error));
  }
  return sessionOf(plan, thread);
}

function sessionOf({ inputs, steps, device }: SessionPlan, thread: SessionThread): Session {
  const byRole = (state: boolean): ReadonlyMap<string, PlannedInput> =>
    new Map(inputs.filter(input => input.state === state).map(input => [input.name, input]));
  const fed = byRole(false);
  const resident = byRole(true);
  const staged = new Map<object, number>();
  let stages = 0;
  const checkAllFed = (feeds: Feeds): void => {
    for (const name of fed.keys()) {
      if (!Object.hasOwn(feeds, name)) throw new S3aError('FEED', `input '${name}' was not fed`);
    }
  };
  return {
    stage(feeds) {
      if (device !== 'webgpu') return;
      checkAllFed(feeds);
      const data = asArrays(feeds, fed);
      checkValues(data, fed, 'input');
      staged.set(feeds, ++stages);
      thread.stage(stages, data);
    },
    async run(given = {}, { move = false } = {}) {
      const number = staged.get(given);
      if (number !== undefined) {
        staged.delete(given);
        return (await thread.ask({ kind: 'run', data: {}, staged: number }))!;
      }
      checkAllFed(given);
      const feeds = asArrays(given, fed);
      const count = steps === undefined ? undefined : stepsFed(feeds, inputs, steps);
      const shapeOf = ({ given }: PlannedInput) => (count === undefined ? given : stackOf(count, given));
      const taken = new Map([...fed].map(([name, x]) => [name, { dtype: x.dtype, given: shapeOf(x) }]));
      checkValues(feeds, taken, 'input');
      // Stacks of steps are large, and are given back as soon as they have been read.
      if (!move && steps === undefined) return (await thread.run(feeds))!;
      const data = compact(feeds);
      return (await thread.ask({ kind: 'run', data }, move ? buffersOf(data) : []))!;
    },
    async setState(given, { move = false } = {}) {
      const values = asArrays(given, resident);
      checkValues(values, resident, 'state');
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
