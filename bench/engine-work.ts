/** What bench/engine.ts measures: embedding, training step and S³A step of an image tower, and plain products. */
import { readFile } from 'node:fs/promises';
import { areConstants, imagesAtOnce } from '../src/clip/encoders.ts';
import { type ClipConfig, parseClipConfig } from '../src/clip/towers/config.ts';
import { visionParameters, visionTower } from '../src/clip/towers/vision.ts';
import {
  adamW,
  compile,
  gradient,
  input,
  matMul,
  mean,
  type Program,
  program,
  type Session,
  type SessionOptions,
  sizeOf,
  slice,
  square,
  state,
  type TensorData,
  type Tensors,
} from '../src/engine/index.ts';
import { random } from '../src/random.ts';
import { type Precision, precisionStart } from '../src/train/precision.ts';
import { stepProgram } from '../src/train/step.ts';
import { packageFile } from '../src/vocab/package-root.ts';

/** A tower with a batch size, as `--models` names it. */
export interface Model {
  /** `vit-b-32 8`. */
  readonly name: string;
  readonly config: ClipConfig;
  readonly batch: number;
  /** Names of the head in the S³A step. */
  readonly names: number;
}

export const WORKS = ['embed', 'train', 'step'] as const;
export type WorkName = (typeof WORKS)[number];

/** A piece of work that both sides can do. */
export interface Work {
  readonly name: string;
  /** What one run counts for, in the unit. */
  readonly amount: number;
  readonly unit: string;
  /** Multiplications and additions of the products of one run of ours. */
  readonly flops: number;
  run(): Promise<unknown>;
  dispose(): Promise<void>;
}

/** The vocabulary of METHOD §1, and about that of the embedded model. */
const NAMES = { full: 20071, tiny: 1000 };

/**
 * `vit-b-32:8`, `vit-b-16:32`, `tiny:128`.
 * @param layers blocks of the transformers, to try things out
 */
export async function modelOf(spec: string, layers: number): Promise<Model> {
  const [kind, size] = spec.split(':');
  const batch = Number(size);
  if (!Number.isInteger(batch) || batch < 1) throw new Error(`'${spec}' is not a model and a batch, as in vit-b-32:8`);
  const name = `${kind} ${batch}`;
  if (kind === 'tiny') {
    const config = parseClipConfig(JSON.parse(await readFile(packageFile('demo/model/config.json'), 'utf8')));
    return { name, config, batch, names: NAMES.tiny };
  }
  const patch = { 'vit-b-32': 32, 'vit-b-16': 16 }[kind];
  if (patch === undefined) throw new Error(`there is no model '${kind}': vit-b-32, vit-b-16 and tiny are known`);
  const config = parseClipConfig({ vision_config: { num_hidden_layers: layers, patch_size: patch } });
  return { name, config, batch, names: NAMES.full };
}

/**
 * The session of a piece of work with random weights, ready to run; `precision` is that of a step, `steps` makes a run so many
 * of them in one call.
 */
export async function prepare(
  model: Model,
  work: WorkName,
  { precision, ...options }: SessionOptions & { precision?: Precision },
): Promise<Work> {
  // As the encoders of src/clip do it, and the training under CUDA.
  const embeds = work === 'embed';
  const { config, batch } = model;
  const atOnce = embeds ? imagesAtOnce(config, batch, options.device) : batch;
  const graph = programOf({ ...model, batch: atOnce }, work, precision);
  const frozen = (embeds && areConstants(config, batch)) || options.device === 'cuda';
  const session = await compile(graph, { ...options, frozen });
  const weights = randomWeights(model);
  const copies: Record<string, TensorData> = { head: noise(model.names * model.config.projection_dim, 2, 0.05) };
  for (const [name, data] of Object.entries(weights)) {
    for (const role of ['', 'student.', 'teacher.']) copies[role + name] = data;
  }
  const known = Object.entries(copies).filter(([name]) => graph.inputs.has(name));
  await session.setState(Object.fromEntries(known));
  await session.setState(precisionStart(work === 'step' ? precision : undefined));
  const feeds = feedsOf(graph);
  const { steps = 1 } = options;
  const once = options.steps === undefined ? stagedRuns(session, feeds) : stackedRuns(session, feeds, steps);
  const parts = Math.ceil(batch / atOnce);
  return {
    name: `${model.name} ${work}`,
    amount: steps * batch,
    unit: 'images/s',
    flops: steps * parts * flopsOf(graph),
    run: async () => {
      for (let part = 0; part < parts; part++) await once();
    },
    dispose: () => session.dispose(),
  };
}

/** A plain product in which nothing but a corner of the result is copied between threads. */
export async function product([m, k, n]: readonly number[], options: SessionOptions): Promise<Work> {
  const y = matMul(state('a', [m, k]), state('b', [k, n]));
  const session = await compile(program({ y: slice(slice(y, 0, 0, 1), 1, 0, 1) }), options);
  await session.setState({ a: noise(m * k, 0), b: noise(k * n, 1) });
  const flops = 2 * m * k * n;
  return {
    name: `product ${m}x${k}x${n}`,
    amount: flops / 1e9,
    unit: 'GFLOP/s',
    flops,
    run: () => session.run({}),
    dispose: () => session.dispose(),
  };
}

/** As the training does it: the feeds of the next run are told while one is under way. */
function stagedRuns(session: Session, feeds: Record<string, TensorData>): () => Promise<unknown> {
  let next = feeds;
  return async () => {
    const running = session.run(next);
    next = { ...feeds };
    session.stage(next);
    await running;
  };
}

/** As the training does it: a stack is handed over, and the next one made while it is used. */
function stackedRuns(session: Session, feeds: Record<string, TensorData>, steps: number): () => Promise<unknown> {
  const stack = (): Record<string, TensorData> =>
    Object.fromEntries(
      Object.entries(feeds).map(([name, data]) => {
        const all = new (data.constructor as Float32ArrayConstructor)(steps * data.length);
        for (let i = 0; i < steps; i++) all.set(data as Float32Array, i * data.length);
        return [name, all];
      }),
    );
  let next = stack();
  return async () => {
    const running = session.run(next, { move: true });
    next = stack();
    await running;
  };
}

export function programOf({ config, batch, names }: Model, work: WorkName, precision?: Precision): Program {
  if (work === 'step') return stepProgram({ config, batch, names, logitScale: 100, precision });
  const size = config.vision_config.image_size;
  const pixels = input('pixels', 'float32', [batch, 3, size, size]);
  const weights: Tensors = Object.fromEntries(
    visionParameters(config).map(({ name, shape }) => [name, state(name, shape)]),
  );
  const embedded = visionTower(config, name => weights[name], pixels);
  if (work === 'embed') return program({ embedded });
  const loss = mean(square(embedded));
  const derived = gradient(loss, Object.values(weights));
  const gradients = Object.fromEntries(Object.keys(weights).map((name, i) => [name, derived[i]]));
  const [rate, step] = [input('learningRate', 'float32', []), input('step', 'float32', [])];
  return program({ loss, ...adamW(weights, gradients, rate, step) });
}

const SCALARS: Record<string, number> = {
  learningRate: 1e-6,
  step: 1,
  emaDecay: 0.999,
  // So low that every image counts: the work is the same for any threshold.
  threshold: 0,
  instanceWeight: 1,
  structuralWeight: 0.25,
};

function feedsOf(graph: Program): Record<string, TensorData> {
  const feeds: Record<string, TensorData> = {};
  for (const [name, { shape, dtype, source }] of graph.inputs) {
    if (source.kind !== 'input' || source.state) continue;
    const size = sizeOf(shape);
    if (shape.length === 0) feeds[name] = Float32Array.of(SCALARS[name]);
    else if (dtype === 'int32') feeds[name] = Int32Array.from({ length: size }, (_, i) => i);
    else feeds[name] = name === 'present' ? new Float32Array(size).fill(1) : noise(size, 3);
  }
  return feeds;
}

/** What the products of a graph multiply and add; element-wise work does not count. */
function flopsOf({ nodes }: Program): number {
  let flops = 0;
  for (const { operator, inputs, attributes, outputs } of nodes) {
    const [a, b] = inputs;
    if (operator === 'Gemm' || operator === 'MatMul') {
      const { transA } = attributes as { transA: boolean };
      flops += 2 * sizeOf(outputs[0].shape) * a.shape.at(transA ? -2 : -1)!;
    } else if (operator === 'Conv') {
      flops += 2 * sizeOf(outputs[0].shape) * sizeOf(b.shape.slice(1));
    } else if (operator === 'ConvWeight') {
      flops += 2 * sizeOf(b.shape) * sizeOf(outputs[0].shape.slice(1));
    } else if (operator === 'ConvTranspose') {
      flops += 2 * sizeOf(a.shape) * sizeOf(b.shape.slice(1));
    }
  }
  return flops;
}

/** Weights of the size that training starts from; norms are 1. */
export function randomWeights({ config }: Model): Record<string, Float32Array> {
  return Object.fromEntries(
    visionParameters(config).map(({ name, shape }, i) => [
      name,
      /norm\d?\.weight$/.test(name) ? new Float32Array(shape[0]).fill(1) : noise(sizeOf(shape), i, 0.02),
    ]),
  );
}

/** Uniform values of mean 0 and the given deviation. One short generator: whole towers are filled before every measurement. */
function noise(size: number, seed: number, deviation = 1): Float32Array {
  const values = new Float32Array(size);
  let bits = random(seed, 'bench').uniform(1, 2 ** 31) | 1;
  for (let i = 0; i < size; i++) {
    bits ^= bits << 13;
    bits ^= bits >>> 17;
    bits ^= bits << 5;
    values[i] = (bits / 2 ** 31) * Math.sqrt(3) * deviation;
  }
  return values;
}
