/** The settings of MUST with the values of its published code, and what it works on. */
import { visionParameters } from '../../clip/towers/vision.ts';
import { sizeOf } from '../../engine/index.ts';
import { S3aError } from '../../errors.ts';
import { hashBytes, hashJson } from '../../io/hash.ts';
import type { TrainData, TrainSettings, Weights } from '../settings.ts';

/**
 * Settings that change the result: train_configs.json, `imagenet_ViT-B/16`, and the defaults of train.py in the published
 * code (salesforce/MUST). Other there are the batch, 1,024 images on 16 GPUs, and that an epoch is not cut short.
 */
export const MUST_SETTINGS = {
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
  /** The teacher's probability (τ) above which its label counts, from the first step to the last. */
  threshold: 0.7,
  fairnessWeight: 1,
  reconstructionWeight: 1,
  alignmentWeight: 0.2,
  /** Share of the squares of an image that are masked. */
  maskRatio: 0.3,
  /** Whether the classifier is trained too, which starts as the text prototypes; so it is in the published code. */
  trainHead: true,
  seed: 0,
};

export type MustMethodSettings = typeof MUST_SETTINGS;

/** What train_configs.json of the published code has for ViT-B/16 on data sets that are measured here too. */
export const MUST_OF_SETS = {
  'oxford-pet': {
    epochs: 60,
    learningRate: 1e-5,
    threshold: 0.7,
    maskRatio: 0.1,
    alignmentWeight: 0.2,
    emaStart: 0.99,
    emaSteps: 100,
  },
  'caltech-101': {
    epochs: 60,
    learningRate: 1e-5,
    threshold: 0.7,
    maskRatio: 0.1,
    alignmentWeight: 0.2,
    emaStart: 0.99,
    emaSteps: 100,
  },
} satisfies Record<string, Partial<MustMethodSettings>>;

export interface MustSettings
  extends Partial<MustMethodSettings>,
    Pick<TrainSettings, 'device' | 'threads' | 'workers' | 'cacheBytes' | 'logEvery'> {
  /** Side of a masked square in pixels; see `maskGrid`. */
  maskPatch?: number;
}

/** What `train` takes, without what discovery found. */
export type MustData = Omit<TrainData, 'structural' | 'clusters' | 'weights'> & { weights: Weights };

/**
 * Checks sizes and values before anything is allocated.
 * @throws S3aError SHAPE, WEIGHTS or VALUE that names what does not fit
 */
export function checkMust({ config, weights, prototypes, preprocess }: MustData, settings: MustMethodSettings): void {
  const names = prototypes.length / config.projection_dim;
  if (!Number.isInteger(names) || names < 1) {
    throw new S3aError(
      'SHAPE',
      `MUST: ${prototypes.length} values are not prototypes of width ${config.projection_dim}`,
    );
  }
  const size = config.vision_config.image_size;
  if (preprocess.size !== size) {
    throw new S3aError('SHAPE', `MUST: images of ${preprocess.size} pixels for a model that takes ${size}`);
  }
  for (const { name, shape } of visionParameters(config)) {
    if (weights[name]?.length === sizeOf(shape)) continue;
    throw new S3aError('WEIGHTS', `MUST: the weight ${name} has ${weights[name]?.length ?? 'no'} values`);
  }
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value === 'boolean' || value >= 0) continue;
    throw new S3aError('VALUE', `MUST: ${name} is ${value}`, 'Give a number from 0.');
  }
}

/** Hash of everything that the result depends on, threads and device excepted. */
export function mustKey(data: MustData, settings: MustMethodSettings, maskPatch: number | undefined): string {
  const { config, preprocess, weights, logitScale, files, prototypes } = data;
  return hashJson({
    method: 'must',
    settings,
    maskPatch: maskPatch ?? null,
    vision: config.vision_config,
    preprocess,
    logitScale,
    files,
    weights: visionParameters(config).map(({ name }) => hashBytes(weights[name])),
    prototypes: hashBytes(prototypes),
  });
}
