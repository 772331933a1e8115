/** What a whole `fit` holds in memory, stage by stage, from sizes that are known before it starts. */
import { areConstants, imagesAtOnce } from '../clip/encoders.ts';
import type { ClipConfig } from '../clip/towers/config.ts';
import type { Parameters } from '../clip/towers/parameters.ts';
import { textTower } from '../clip/towers/text.ts';
import { visionTower } from '../clip/towers/vision.ts';
import { input, type Program, type Provider, program, sizeOf, state, type Tensor } from '../engine/index.ts';
import { fedBytes } from '../train/calls.ts';
import { type MemoryOptions, programMemory } from '../train/estimate.ts';
import { frozenPart } from '../train/tower.ts';
import type { TunePlan } from '../train/tune.ts';

/** Where the bytes of a peak are. */
export interface MemoryParts {
  /** The process before any weight is read: Node, libraries, model files' headers, names. */
  readonly process: number;
  /** Threads and the sessions of ONNX Runtime themselves. */
  readonly threads: number;
  /** What the allocator has not given back of what earlier stages held. */
  readonly left: number;
  /** Weights; in training those of both networks with moments and gradients. */
  readonly weights: number;
  /** Values between nodes, tables of features and prototypes. */
  readonly values: number;
  /** Decoded images and batches that wait, also in stacks for calls of several steps. */
  readonly images: number;
}

/** The peak of a stage. */
export interface StageMemory {
  readonly stage: 'embed' | 'prototypes' | 'train';
  /** The sum of the parts. */
  readonly bytes: number;
  readonly parts: MemoryParts;
  /** In training on a GPU, the bytes on the card besides: states, values and batches; from sizes, never measured. */
  readonly card?: number;
}

export interface FitSizes {
  readonly config: ClipConfig;
  readonly plan: TunePlan;
  /** The step as it is compiled. */
  readonly graph: Program;
  readonly lean: boolean;
  readonly device: Provider;
  /** Runs of the graph in one call, at most. */
  readonly calls: number;
  /** Bytes of the process before any weight is read. */
  readonly process: number;
  readonly images: number;
  readonly names: number;
  /** Images of a run of the step, and of a batch that is embedded. */
  readonly rows: number;
  readonly embedBatch: number;
  readonly workers: number;
  /** Bytes of decoded images that will be kept. */
  readonly decoded: number;
  /** Whether structural labels are renewed. */
  readonly renews: boolean;
}

/** What threads and sessions take besides weights and values: 130 to 170 MB for transformers from B/32 to L/14. */
const THREADS = 160e6;
/** ONNX Runtime's arena is divided into blocks, some of which no value fits: it takes this much for each byte of a value. */
const ARENA = 1.5;
/** Constants are there as they were given, as ONNX Runtime reads them, and laid out for products. */
const CONSTANT = 3;
/** The share of a tower's weights that the allocator keeps when the tower is released. */
const KEPT = 0.7;
/** Images embedded at once, at most, where labels are renewed; texts embedded at once, and their tokens. */
const RENEWED = 32;
const TEXTS = 64;
const LENGTHS = [16, 32];

/** The peaks of the stages that hold a model, in their order. */
export function fitMemory(sizes: FitSizes): StageMemory[] {
  const { config, images, names, embedBatch, workers } = sizes;
  const { vision_config: vision, projection_dim: width } = config;
  const pixels = 4 * 3 * vision.image_size ** 2;
  const none: MemoryParts = { process: sizes.process, threads: THREADS, left: 0, weights: 0, values: 0, images: 0 };
  const waiting = (batch: number, views: number): number => (Math.max(1, workers) + 2) * views * batch * pixels;

  const atOnce = imagesAtOnce(config, embedBatch, sizes.device);
  const embedding = memoryOf(imageProgram(config, atOnce), areConstants(config, embedBatch));
  const embed = { ...none, ...embedding, images: waiting(embedBatch, 1) };

  // Texts run at the lengths that hold them, each with the weights of its own session.
  const left = KEPT * embedding.weights;
  const texts = textLengths(config).map(length => memoryOf(textProgram(config, Math.min(embedBatch, TEXTS), length)));
  const tables = 4 * width * (2 * names + images);
  const prototypes = { ...none, left, weights: total(texts, 'weights'), values: total(texts, 'values') + tables };

  const trainings = trainingPeaks(sizes, embedding, left, waiting).map(parts => ({ ...none, left, ...parts }));
  const train = trainings.reduce((most, parts) => (bytesOf(parts) > bytesOf(most) ? parts : most));
  return Object.entries({ embed, prototypes, train }).map(([stage, parts]) => ({
    stage: stage as StageMemory['stage'],
    bytes: bytesOf(parts),
    parts,
    ...(stage === 'train' && sizes.device !== 'cpu' ? { card: cardBytes(sizes) } : {}),
  }));
}

/** What the steps hold on a card. */
function cardBytes({ graph, device, calls }: FitSizes): number {
  const loops = device === 'cuda' && calls > 1;
  const { resident, live } = programMemory(graph, { device, loops });
  return resident + ARENA * live + (loops ? calls * fedBytes(graph) : 0);
}

type Held = Pick<MemoryParts, 'weights' | 'values'>;

/** What the stage `train` holds at once: while activations are kept, in its steps, and when the networks are read back. */
function trainingPeaks(
  { config, plan, graph, lean, device, calls, rows, decoded, images, names, renews }: FitSizes,
  embedding: Held,
  left: number,
  waiting: (batch: number, views: number) => number,
): Partial<MemoryParts>[] {
  const kept = plan.cachedViews > 0;
  const onCpu = memoryOf(graph, plan.frozen.length > 0, { lean, loops: calls > 1 });
  // What a card computes lies there; the states are here before the first step, and under cuda after each call.
  const step = device === 'cpu' ? onCpu : { weights: programMemory(graph, { device }).states, values: 0 };
  // One stack is used, and one is made.
  const stacks = calls > 1 ? 2 * calls * fedBytes(graph) : 0;
  const tables = 4 * config.projection_dim * (names + 2 * images);
  // The teacher is read out of the step's session, and embeds in one of its own.
  const renewal =
    renews && !kept ? memoryOf(imageProgram(config, imagesAtOnce(config, RENEWED, device))) : { weights: 0, values: 0 };
  const steps = {
    weights: step.weights + 2 * renewal.weights,
    values: step.values + renewal.values + tables,
    images: stacks + (kept ? 0 : waiting(rows, 2) + decoded),
  };
  const whole = sizesOf(imageProgram(config, 1)) + sizesOf(textProgram(config, 1, textLengths(config)[0]));
  const saved = { weights: whole, values: embedding.values + tables, images: 0 };
  if (!kept) return [steps, saved];
  const part = frozenPart(config, plan, RENEWED);
  const activations = memoryOf(part, config.vision_config.model_type === 's3a_resnet');
  const after = left + KEPT * sizesOf(part);
  return [{ ...activations, left, images: waiting(RENEWED, 1) + decoded }, { ...steps, left: after }, saved];
}

/** Weights and values of a program's session; with `frozen` the states that it does not replace are constants. */
function memoryOf(traced: Program, frozen = false, options: MemoryOptions = {}): Held {
  const { resident, live } = programMemory(traced, options);
  return { weights: resident + (frozen ? (CONSTANT - 1) * sizesOf(traced) : 0), values: ARENA * live };
}

/** Bytes of the states that a program reads and does not replace. */
function sizesOf({ inputs, outputs }: Program): number {
  const constants = [...inputs].filter(
    ([name, { source }]) => source.kind === 'input' && source.state && !outputs.has(name),
  );
  return constants.reduce((sum, [, { shape }]) => sum + 4 * sizeOf(shape), 0);
}

/** What embeds images by the whole tower. */
export function imageProgram(config: ClipConfig, batch: number): Program {
  const size = config.vision_config.image_size;
  return program({ z: visionTower(config, state, input('pixels', 'float32', [batch, 3, size, size])) });
}

/** Tokens of the texts of names and phrases; SigLIP pads all texts to one length. */
function textLengths({ model_type, text_config: { max_position_embeddings: longest } }: ClipConfig): number[] {
  return model_type === 'clip' ? [...new Set(LENGTHS.map(length => Math.min(length, longest)))] : [longest];
}

function textProgram(config: ClipConfig, batch: number, length: number): Program {
  const tower = (params: Parameters): Tensor =>
    textTower(config, params, input('ids', 'int32', [batch, length]), input('ends', 'int32', [batch]));
  return program({ z: tower(state) });
}

function bytesOf(parts: MemoryParts): number {
  return Object.values(parts).reduce((sum: number, bytes: number) => sum + bytes, 0);
}

function total(all: readonly Held[], part: keyof Held): number {
  return all.reduce((sum, held) => sum + held[part], 0);
}
