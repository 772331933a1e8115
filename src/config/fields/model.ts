/** The settings of the model: which one, and what it runs on. */
import { z } from 'zod';
import { DEVICES } from '../../engine/index.ts';
import { count, text } from './kinds.ts';

export const modelFields = {
  model: text()
    .default('openai/clip-vit-base-patch16')
    .describe(
      'CLIP or SigLIP model: org/name[@revision] on the Hugging Face hub, a name of open_clip, a folder, a file of weights, or demo for the one inside the package',
    ),
  pretrained: text()
    .optional()
    .describe("Tag of pre-trained weights, or a file with them, for a model that is named as open_clip's are"),
  device: z
    .enum(DEVICES)
    .default('cpu')
    .describe(
      'Where models and training run (k-means and nearest names: always the processor); auto takes cuda or webgpu where there is one',
    ),
  threads: count(1, 1024)
    .optional()
    .describe('Threads of the arithmetic; without it one a physical core. Same bytes only at the same number'),
  embedBatch: count(1, 4096)
    .default(32)
    .describe('Images loaded to be embedded at once; a processor takes large ones in smaller parts'),
};
