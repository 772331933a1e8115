/** The settings of self-training with the values of METHOD §3, and what it works on. */

import type { Preprocess } from '../clip/preprocess.ts';
import type { ClipConfig } from '../clip/towers/config.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import type { Device } from '../engine/index.ts';
import { sizeOf } from '../engine/shape.ts';
import { S3aError } from '../errors.ts';
import { hashBytes, hashJson } from '../io/hash.ts';
import type { Precision } from './precision.ts';
import type { Relabel } from './structural.ts';
import { changesAll, type TunePlan, type TuneSettings } from './tune.ts';

/** Settings that change the result. */
export const METHOD_SETTINGS = {
  epochs: 30,
  batchSize: 128,
  /** Most steps of an epoch. */
  maxSteps: 1000,
  /** First and last learning rate for a batch of 256 images; both are scaled by the batch. */
  learningRate: 2e-5,
  minLearningRate: 1e-6,
  weightDecay: 0.05,
  /** Factor of the learning rate from one block to the block before it. */
  layerDecay: 0.65,
  /** Decay of the teacher's average at first, and after `emaSteps` steps. */
  emaStart: 0.999,
  emaEnd: 0.9998,
  emaSteps: 2000,
  /** The teacher's probability (τ) from which its label counts. */
  threshold: 0.5,
  instanceWeight: 1,
  structuralWeight: 0.25,
  /** First epoch, counted from 0, before which structural labels are made anew. */
  renewFrom: 2,
  voteRounds: 3,
  seed: 0,
};

export type MethodSettings = typeof METHOD_SETTINGS;

/**
 * Names that the teacher may give an image: all of the vocabulary (METHOD §3), or found, those that some image has as its
 * structural label.
 */
export const INSTANCE_NAMES = ['found', 'all'] as const;
export type InstanceNames = (typeof INSTANCE_NAMES)[number];

export interface TrainSettings extends Partial<MethodSettings>, TuneSettings {
  /** Largest norm of the gradient; default none. */
  clip?: number;
  /** Images computed at once, to bound the memory of a step; must divide the batch to leave it as it is. Default all. */
  microBatch?: number;
  /** The student's blocks are computed again in the backward pass: less memory, more time, the same bytes. Default false. */
  gradCheckpointing?: boolean;
  /** What the towers of a step compute in; default fp32. Structural labels are renewed in float32. */
  precision?: Precision;
  /** Default all. */
  instanceNames?: InstanceNames;
  /** How structural labels are renewed; default the vote of METHOD §3. Whatever it depends on belongs into the caller's key. */
  relabel?: Relabel;
  device?: Device;
  /**
   * Steps in one call of the device, of which the states move to a card and back once; default 1, on cuda what `runsPerCall`
   * says. Not on webgpu. Changes no result.
   */
  stepsPerExecution?: number;
  threads?: number;
  /** Threads that decode images. */
  workers?: number;
  /** Bytes of decoded images to keep in memory; default 0. */
  cacheBytes?: number;
  /** Steps from one line of metrics.jsonl to the next; default 10. The last step of an epoch has a line in any case. */
  logEvery?: number;
}

/** Image-tower weights by transformers' names. */
export type Weights = Readonly<Record<string, Float32Array>>;

export interface TrainData {
  config: ClipConfig;
  preprocess: Preprocess;
  /** What student and teacher start from; a function reads them when they are wanted, so that a training need not hold them. */
  weights: Weights | (() => Promise<Weights>);
  /** Factor of the cosines before the softmax; 100 for most CLIPs. */
  logitScale: number;
  /** Folder that `files` are relative to. */
  root: string;
  /** N images. */
  files: readonly string[];
  /** [V, D] unit text prototypes of the whole vocabulary. */
  prototypes: Float32Array;
  /** [N] structural labels of discovery, vocabulary indices; −1 where there is none. */
  structural: Int32Array;
  /** [N] the clusters that discovery started from (METHOD §2.1). */
  clusters: Int32Array;
}

/** Default settings with those of them that are given; what is undefined, or none of them, counts for nothing. */
export function withDefaults<S extends object>(defaults: S, given: object): S {
  const known = Object.entries(given).filter(([name, value]) => name in defaults && value !== undefined);
  return { ...defaults, ...Object.fromEntries(known) };
}

/** The weights that a training starts from. */
export async function startOf({ weights }: Pick<TrainData, 'weights'>): Promise<Weights> {
  return typeof weights === 'function' ? weights() : weights;
}

/**
 * Checks sizes and values before anything is allocated.
 * @throws S3aError SHAPE, WEIGHTS or VALUE that names what does not fit
 */
export function checkTraining(data: TrainData, weights: Weights, settings: MethodSettings): void {
  const { config, files, prototypes, structural, clusters, preprocess } = data;
  const names = prototypes.length / config.projection_dim;
  const shape = (what: string): S3aError => new S3aError('SHAPE', `training: ${what}`);
  if (!Number.isInteger(names) || names < 1) {
    throw shape(`${prototypes.length} values are not prototypes of width ${config.projection_dim}`);
  }
  if (structural.length !== files.length || clusters.length !== files.length) {
    throw shape(`${files.length} images, ${structural.length} structural labels and ${clusters.length} cluster labels`);
  }
  if (preprocess.size !== config.vision_config.image_size) {
    throw shape(`images of ${preprocess.size} pixels for a model that takes ${config.vision_config.image_size}`);
  }
  const odd = structural.findIndex(label => label < -1 || label >= names);
  if (odd >= 0) throw shape(`the structural label ${structural[odd]} of ${files[odd]} is no index of ${names} names`);
  for (const { name, shape: extents } of visionParameters(config)) {
    if (weights[name]?.length === sizeOf(extents)) continue;
    throw new S3aError('WEIGHTS', `training: the weight ${name} has ${weights[name]?.length ?? 'no'} values`);
  }
  const wrong = Object.entries(settings).find(([, value]) => !(value >= 0));
  if (wrong) throw new S3aError('VALUE', `training: ${wrong[0]} is ${wrong[1]}`, 'Give a number from 0.');
}

// 2: the moments of AdamW are sums and no averages, so a state of before would go on wrongly.
const STATE_FORMAT = 2;

/** Hash of everything that the result depends on, threads and device excepted. */
export function trainingKey(
  data: TrainData,
  weights: Weights,
  settings: MethodSettings,
  options: TrainSettings,
  plan: TunePlan,
): string {
  const { config, preprocess, logitScale, files, prototypes, structural, clusters } = data;
  const { clip, microBatch, precision = 'fp32', instanceNames = 'all' } = options;
  return hashJson({
    state: STATE_FORMAT,
    settings,
    options: { clip: clip ?? null, microBatch: microBatch ?? null },
    ...(changesAll(plan) ? {} : { plan }),
    ...(precision === 'fp32' ? {} : { precision }),
    ...(instanceNames === 'all' ? {} : { instanceNames }),
    vision: config.vision_config,
    preprocess,
    logitScale,
    files,
    weights: visionParameters(config).map(({ name }) => hashBytes(weights[name])),
    arrays: [prototypes, structural, clusters].map(hashBytes),
  });
}
