/** The settings of self-training (METHOD §3). */
import { z } from 'zod';
import { TRACKERS } from '../../track/open.ts';
import { PRECISIONS } from '../../train/precision.ts';
import { INSTANCE_NAMES } from '../../train/settings.ts';
import { TUNES } from '../../train/tune.ts';
import { count, share, text } from './kinds.ts';

export const trainFields = {
  epochs: count(1, 100_000).default(30).describe('Epochs'),
  batchSize: count(1, 65_536).default(128).describe('Images a step'),
  microBatch: count(1, 65_536)
    .optional()
    .describe('Images computed at once, to save memory; a step adds up several. Default all of the batch'),
  stepsPerExecution: count(1, 65_536)
    .optional()
    .describe(
      'Steps in one call of the device; default 1, on cuda as many as 2 GiB of batches are, at most 32. Not on webgpu',
    ),
  gradCheckpointing: z
    .boolean()
    .default(false)
    .describe(
      'Compute activations again in the backward pass: much less memory for one more forward pass, the same result',
    ),
  precision: z
    .enum(PRECISIONS)
    .default('fp32')
    .describe('fp32, or amp: products in float16 with a loss scale, weights and all else in float32; for a GPU'),
  tune: z
    .enum(TUNES)
    .default('full')
    .describe(
      'What is trained: full (the image tower), lora (factors of low rank), last-blocks or head (on activations that are computed once)',
    ),
  freezeLayers: count(0, 1000)
    .optional()
    .describe(
      'First blocks that stay as they are, with the embeddings; default 0, with last-blocks all but the last third',
    ),
  loraRank: count(1, 4096).default(8).describe('Rank of the factors of --tune lora'),
  loraAlpha: z
    .number()
    .positive()
    .max(1e6)
    .optional()
    .describe('Scale of what --tune lora adds, times its rank; default the rank'),
  patchDropout: z.number().min(0).lt(1).default(0).describe('Share of the patches that the student does not see'),
  cachedViews: count(1, 1000)
    .default(4)
    .describe('Strong views of each image that last-blocks and head keep activations of, taken in turn'),
  maxStepsPerEpoch: count().default(1000).describe('Most steps of an epoch'),
  lr: z
    .number()
    .positive()
    .max(1)
    .nullable()
    .default(null)
    .describe('Learning rate at the first step; default 2e-5 x batch size / 256'),
  minLr: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('Learning rate that the cosine falls to; default a twentieth of the first'),
  weightDecay: share().default(0.05).describe('Weight decay of AdamW'),
  layerDecay: z
    .number()
    .positive()
    .max(1)
    .default(0.65)
    .describe('Factor of the learning rate from each layer to the one before it'),
  clipNorm: z.number().positive().nullable().default(null).describe('Greatest norm of the gradient; default no limit'),
  threshold: share().default(0.5).describe('Confidence above which the teacher labels an image for the student'),
  instanceNames: z
    .enum(INSTANCE_NAMES)
    .default('found')
    .describe(
      'Names that the teacher may give an image, with --method auto: found (some structural label has it) or all',
    ),
  instanceWeight: z.number().min(0).max(1000).default(1).describe('Weight of the instance loss'),
  structuralWeight: z.number().min(0).max(1000).default(0.25).describe('Weight of the structural loss'),
  emaStart: share().default(0.999).describe("Decay of the teacher's average at the first step"),
  emaEnd: share().default(0.9998).describe("Decay of the teacher's average after the ramp"),
  emaSteps: count(0).default(2000).describe('Steps of that ramp'),
  renewFrom: count(0).default(2).describe('First epoch whose structural labels the teacher renews'),
  track: z
    .array(z.enum(TRACKERS))
    .default([])
    .describe('Where the figures of the training go besides metrics.jsonl; repeatable'),
  mlflowUri: text().optional().describe('Address of the MLflow server for --track mlflow; default MLFLOW_TRACKING_URI'),
};
