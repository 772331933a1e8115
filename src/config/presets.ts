/** Named sets of settings. */
import type { ConfigInput } from './fields.ts';

/** Settings that `--preset` puts in the place of the defaults. */
export const PRESETS = {
  /** METHOD to the letter. */
  paper: { method: 's3a', k: 'estimate' },
  /**
   * A CLIP of the size of ViT-B on a computer without a GPU: fewer starts and steps, an average that suits them. What is trained
   * was chosen from the tables of docs/training.md: the last third of the tower, on activations that are kept.
   */
  cpu: {
    nInit: 4,
    tune: 'last-blocks',
    epochs: 5,
    batchSize: 32,
    microBatch: 8,
    maxStepsPerEpoch: 100,
    lr: 1e-5,
    minLr: 5e-7,
    emaStart: 0.99,
    emaEnd: 0.998,
    emaSteps: 200,
  },
  /**
   * Small models and small folders, such as the demo's: done in minutes. An epoch is some dozen steps there, so averages
   * and rates are quicker, the structural labels weigh more than a young teacher's, and that teacher renews none of them.
   */
  quick: {
    kMin: 5,
    kMax: 200,
    nInit: 8,
    epochs: 10,
    batchSize: 64,
    lr: 1e-3,
    minLr: 5e-5,
    threshold: 0.7,
    structuralWeight: 1,
    renewFrom: 1000,
    emaStart: 0.9,
    emaEnd: 0.98,
    emaSteps: 50,
    phraseFormats: ['{phrase} {name}', 'a picture of a {name}, {phrase}', 'a {name}, which has {phrase}'],
  },
} satisfies Record<string, ConfigInput>;

export type PresetName = keyof typeof PRESETS;

export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[];
