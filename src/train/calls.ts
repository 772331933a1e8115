/**
 * Runs of the graph of a step put together into calls of a device, which makes several in each (engine/loop-model.ts): how
 * many, their feeds as stacks, and the next stacks made while a call is under way.
 */
import { type Device, type Program, type Provider, sizeOf, type TensorData } from '../engine/index.ts';
import { S3aError } from '../errors.ts';

/** Bytes of stacks that a call on cuda takes to the card, and its steps, at most, where nothing else is asked for. */
const [STACKS, STEPS] = [2 ** 31, 32];
/** Most bytes of stacks in any case. */
const LARGEST = 2 ** 32;

export interface CallOptions {
  device: Provider;
  /** Steps a call as asked for. */
  stepsPerExecution?: number;
  /** Runs of the graph that make a step. */
  runs: number;
}

/**
 * The most runs of the graph in one call.
 *
 * On cuda states move to the card and back at every call, so a call has as many steps as stacks of 2 GiB hold, at most 32; where
 * not even one step fits, a part of one. Elsewhere it is one run, for states stay where they are.
 * @throws S3aError STEPS when webgpu is asked for more than one step, or stacks are larger than an array may be
 */
export function runsPerCall(graph: Program, { device, stepsPerExecution, runs }: CallOptions): number {
  const bytes = fedBytes(graph);
  if (stepsPerExecution === undefined) {
    if (device !== 'cuda') return 1;
    const most = Math.max(1, Math.min(Math.floor(STACKS / bytes), STEPS * runs));
    return most < runs ? most : most - (most % runs);
  }
  if (stepsPerExecution === 1 && device !== 'cuda') return 1;
  checkCalls({ device, stepsPerExecution });
  const most = stepsPerExecution * runs;
  if (most > 1 && most * bytes > LARGEST) {
    const gib = ((most * bytes) / 2 ** 30).toFixed(1);
    throw new S3aError(
      'STEPS',
      `${stepsPerExecution} steps a call have batches of ${gib} GiB, and ${LARGEST / 2 ** 30} is the most`,
      `Give at most --steps-per-execution ${Math.max(1, Math.floor(LARGEST / bytes / runs))}.`,
    );
  }
  return most;
}

/**
 * Refuses what a device cannot do, before anything is computed.
 * @throws S3aError STEPS when webgpu is asked for more than one step
 */
export function checkCalls({ device, stepsPerExecution = 1 }: { device: Device; stepsPerExecution?: number }): void {
  if (device !== 'webgpu' || stepsPerExecution === 1) return;
  const hint = 'States stay on the GPU there in any case: leave it out.';
  throw new S3aError('STEPS', `webgpu cannot run ${stepsPerExecution} steps a call`, hint);
}

/** Bytes that one run of a graph is fed. */
export function fedBytes({ inputs }: Program): number {
  const fed = [...inputs.values()].filter(({ source }) => source.kind === 'input' && !source.state);
  return fed.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
}

/** A run of the graph: what it is fed, and what is known about it besides. */
export interface FedRun {
  readonly feeds: Record<string, TensorData>;
}

/** A call: the feeds of some runs, stacked where there may be several, and the runs themselves without theirs. */
export interface Call<R extends FedRun> {
  readonly feeds: Record<string, TensorData>;
  readonly runs: readonly Omit<R, 'feeds'>[];
}

export interface CallPlan {
  /** Most runs of a call. */
  readonly most: number;
  /** Runs of all calls together, at most. */
  readonly total: number;
  /** Runs that make a step: a call of less than a step does not go beyond its end. */
  readonly runs: number;
  /** Is told the feeds of each call as soon as they are made, which is one call ahead. */
  readonly stage?: (feeds: Record<string, TensorData>) => void;
}

/**
 * Joins runs to calls, in their order. With calls of several runs, or where feeds are staged, one call is made ahead of the one that
 * is used, no more; with calls of one run, feeds are as they are.
 */
export async function* callsOf<R extends FedRun>(runs: AsyncIterable<R>, plan: CallPlan): AsyncGenerator<Call<R>> {
  if (plan.most === 1 && !plan.stage) {
    for await (const { feeds, ...run } of runs) yield { feeds, runs: [run] };
    return;
  }
  const source = runs[Symbol.asyncIterator]();
  let left = false;
  let done = 0;
  const make = async (): Promise<Call<R> | undefined> => {
    const call = plan.most === 1 ? await single() : await joined();
    if (call) plan.stage?.(call.feeds);
    return call;
  };
  const single = async (): Promise<Call<R> | undefined> => {
    const next = await source.next();
    if (next.done) return undefined;
    const { feeds, ...run } = next.value;
    return { feeds, runs: [run] };
  };
  const joined = async (): Promise<Call<R> | undefined> => {
    const whole = plan.most < plan.runs ? plan.runs - (done % plan.runs) : plan.total - done;
    const count = Math.min(plan.most, whole, plan.total - done);
    const stacks: Record<string, TensorData> = {};
    const made: Omit<R, 'feeds'>[] = [];
    while (made.length < count && !left) {
      const next = await source.next();
      if (next.done) break;
      const { feeds, ...run } = next.value;
      for (const [name, data] of Object.entries(feeds)) {
        stacks[name] ??= new (data.constructor as Float32ArrayConstructor)(count * data.length);
        (stacks[name] as Float32Array).set(data as Float32Array, made.length * data.length);
      }
      made.push(run);
    }
    done += made.length;
    if (made.length === 0) return undefined;
    const cut = Object.entries(stacks).map(([name, stack]) => [
      name,
      stack.subarray(0, (stack.length / count) * made.length),
    ]);
    return { feeds: made.length === count ? stacks : Object.fromEntries(cut), runs: made };
  };
  let next = make();
  try {
    for (let call = await next; call; call = await next) {
      next = make();
      // A failure is thrown when its turn comes; until then it must not count as unhandled.
      next.catch(() => undefined);
      yield call;
    }
  } finally {
    left = true;
    await next.catch(() => undefined);
    await source.return?.();
  }
}

/** What one of the runs of a call returned, of scalars that a call stacks. */
export function resultsOf(outputs: Record<string, TensorData>, run: number): Record<string, TensorData> {
  return Object.fromEntries(Object.entries(outputs).map(([name, data]) => [name, data.slice(run, run + 1)]));
}
