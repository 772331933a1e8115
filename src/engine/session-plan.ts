/** What a session is started with: the model of a program, and what becomes of each of its inputs and outputs. */
import { channelBlock } from './channel-block.ts';
import { hasConvolutions } from './conv-block-steps.ts';
import { type CpuProgram, cpuProgram } from './cpu-program.ts';
import type { Provider } from './device.ts';
import type { FusedNorm } from './fused-norms.ts';
import type { UpdatePlan } from './fused-states.ts';
import type { DType, Program, TensorData } from './graph.ts';
import { hostNames } from './host-scalars.ts';
import { inPlaceStates } from './in-place.ts';
import { overwrittenStates, stackedProgram, toLoopOnnx } from './loop-model.ts';
import { outputName, toOnnx } from './onnx.ts';
import type { Shape } from './shape.ts';
import { fillsUncopied } from './uncopied.ts';

/** The options of `compile` (session.ts) that shape the model. */
export interface PlanOptions {
  readonly threads?: number;
  readonly frozen?: boolean | 'cuda';
  readonly lean?: boolean;
  readonly steps?: number;
  readonly profile?: string;
}

export interface PlannedInput {
  readonly name: string;
  readonly dtype: DType;
  /** As ONNX Runtime has it; a state may be wider than the caller knows it. */
  readonly shape: Shape;
  readonly given: Shape;
  readonly state: boolean;
  /** A constant of the model. */
  readonly frozen: boolean;
  /** False for a state that only updates know. */
  readonly read: boolean;
}

export interface PlannedOutput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** The state that it replaces. */
  readonly feeds: string | undefined;
  /** Whether it is written over that state. */
  readonly inPlace: boolean;
}

/** What the session's thread is started with. */
export interface SessionPlan {
  readonly model: Uint8Array;
  readonly inputs: readonly PlannedInput[];
  readonly outputs: readonly PlannedOutput[];
  /** What is updated after the run; outputs whose names begin with a colon are for them alone. */
  readonly updates: readonly UpdatePlan[];
  /** Results that come out of the updates. */
  readonly norms: readonly FusedNorm[];
  readonly device: Provider;
  /** With states on the host the output before all others, which stands for nothing, if that is of use (uncopied.ts). */
  readonly unread: string | undefined;
  /** The most steps of a call, where a call may have several (loop-model.ts). */
  readonly steps: number | undefined;
  /** ONNX Runtime's options. */
  readonly options: Record<string, unknown>;
}

/** A plan that was opened, with its states on the host or on a GPU. */
export interface OpenSession {
  /**
   * Runs the program once, or where a call has several steps as often as the feeds say; feeds and results by name. Feeds that were
   * staged are named by their number.
   */
  run(feeds: Record<string, TensorData>, staged?: number): Promise<Record<string, TensorData>>;
  /** Takes the feeds of a later run; settles when their memory is free again. */
  stage?(number: number, feeds: Record<string, TensorData>): Promise<void>;
  /** Sets states; the arrays are the session's from then on. */
  set(values: Record<string, TensorData>): Promise<void>;
  get(names: readonly string[]): Promise<Record<string, TensorData>>;
  /** Whether what `get` returns is nobody else's. */
  readonly getsCopies: boolean;
  release(): Promise<void>;
}

/**
 * Plans a program for a device.
 *
 * Under WebGPU states stay in buffers of the GPU. CUDA's cannot be kept by the binding: there states are on the host between
 * calls, and a call of several steps moves them once.
 * @throws S3aError STEPS when `steps` is no count or the program cannot be run so
 */
export async function planOf(traced: Program, device: Provider, options: PlanOptions): Promise<SessionPlan> {
  const { frozen = false, steps, profile } = options;
  const onHost = device !== 'webgpu';
  const { program, updates, norms, inPlace, shapes } = prepared(traced, device, options);
  const freezes = frozen === 'cuda' ? device === 'cuda' : frozen;
  const constants = new Set(freezes && onHost ? statesOf(program).filter(name => !traced.outputs.has(name)) : []);
  const unread = onHost && (await fillsUncopied()) ? ':unread' : undefined;
  const onCpu = device === 'cpu' && steps === undefined;
  const spelling = {
    cpu: onCpu ? { block: hasConvolutions(program) ? await channelBlock() : undefined } : undefined,
    sequence: unread,
    webgpu: device === 'webgpu',
    cuda: device === 'cuda',
    named: profile !== undefined,
    frozen: constants,
  };
  // A loop takes feeds of all its steps.
  const known = steps === undefined ? traced : program;
  return {
    model: steps === undefined ? toOnnx(program, spelling) : toLoopOnnx(traced, spelling),
    device,
    unread,
    steps,
    updates,
    norms,
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
    options: runtimeOptions(device, options, program),
  };
}

function prepared(traced: Program, device: Provider, { lean, steps }: PlanOptions): CpuProgram {
  // What a program becomes for the CPU suits its caches and its own kernels; a GPU gets what was traced, with the updates.
  const asTraced = { updates: [], norms: [], shapes: new Map<string, Shape>() };
  if (steps !== undefined) {
    return { ...asTraced, program: stackedProgram(traced, steps), inPlace: overwrittenStates(traced) };
  }
  if (device === 'cpu') return cpuProgram(traced, lean);
  return { ...asTraced, program: traced, inPlace: device === 'cuda' ? inPlaceStates(traced) : new Set() };
}

function statesOf({ inputs }: Program): string[] {
  return [...inputs].filter(([, { source }]) => source.kind === 'input' && source.state).map(([name]) => name);
}

function runtimeOptions(
  device: Provider,
  { threads, profile }: PlanOptions,
  program: Program,
): Record<string, unknown> {
  const onCpu = device === 'webgpu' ? hostNames(program) : [];
  const first = onCpu.length > 0 ? { name: device, forceCpuNodeNames: onCpu } : device;
  return {
    executionProviders: device === 'cpu' ? ['cpu'] : [first, 'cpu'],
    graphOptimizationLevel: 'all',
    // A planned block for all values would lie beside what the first run has taken, which is never given back; a plan is no
    // faster (ViT-B/32, 32 images: 1.2 GiB less).
    enableMemPattern: false,
    // What the first fusion makes of the slices of small weights runs before all else, with everything that it needs, and so brings
    // the whole backward pass before the first update: every gradient would live at once.
    // The second would put transposes back into the products that were freed of them (turned-factors.ts).
    extra: { optimization: { disable_specified_optimizers: 'GatherSliceToSplitFusion;GemmTransposeFusion' } },
    // Errors come as exceptions; ONNX Runtime's own log would only repeat them.
    logSeverityLevel: 4,
    ...(threads ? { intraOpNumThreads: threads } : {}),
    ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
  };
}
