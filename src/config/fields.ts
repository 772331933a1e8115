/** The one schema of all settings: flags, config files, help texts and manifests derive from it. */
import { z } from 'zod';
import { TEMPLATES } from '../clip/prototypes.ts';
import { DEVICES } from '../engine/index.ts';
import { MAX_PIXELS } from '../images/image.ts';
import { TRACKERS } from '../track/open.ts';
import { PRECISIONS } from '../train/precision.ts';
import { TUNES } from '../train/tune.ts';

/** Which part of the work a setting belongs to; help texts show one section a group. */
export type Group = 'model' | 'run' | 'discover' | 'llm' | 'train';

const MAX_COUNT = 1_000_000_000;

const count = (low = 1, high = MAX_COUNT) => z.int().min(low).max(high);
const share = () => z.number().min(0).max(1);
const text = () => z.string().min(1).max(4096);
const template = text().refine(t => t.includes('{}'), 'a text with {} where the name goes');
const phraseFormat = text().refine(
  t => t.includes('{name}') && t.includes('{phrase}'),
  'a text with {name} and {phrase} in it',
);

/** A setting's group and, where it is not its key in kebab case, its flag. */
const of = (group: Group, flag?: string) => (flag === undefined ? { group } : { group, flag });

/** The preset `paper` is METHOD to the letter; without it discovery goes by `--method auto`. */
export const configSchema = z.strictObject({
  model: text()
    .default('openai/clip-vit-base-patch16')
    .describe(
      'CLIP or SigLIP model: org/name[@revision] on the Hugging Face hub, a name of open_clip, a folder, a file of weights, or demo for the one inside the package',
    )
    .meta(of('model')),
  pretrained: text()
    .optional()
    .describe("Tag of pre-trained weights, or a file with them, for a model that is named as open_clip's are")
    .meta(of('model')),
  device: z
    .enum(DEVICES)
    .default('cpu')
    .describe(
      'Where models and training run (k-means and nearest names: always the processor); auto takes cuda or webgpu where there is one',
    )
    .meta(of('model')),
  threads: count(1, 1024)
    .optional()
    .describe('Threads of the arithmetic; without it one a physical core. Same bytes only at the same number')
    .meta(of('model')),
  embedBatch: count(1, 4096).default(32).describe('Images embedded at once').meta(of('model')),

  workers: count(0, 256).default(2).describe('Threads that decode images; 0 decodes in the main one').meta(of('run')),
  cacheBytes: count(0, Number.MAX_SAFE_INTEGER)
    .default(512 * 2 ** 20)
    .describe('Memory for decoded images during training, in bytes')
    .meta(of('run')),
  recursive: z.boolean().default(true).describe('Look into sub-folders').meta(of('run')),
  maxPixels: count(1, MAX_PIXELS)
    .default(MAX_PIXELS)
    .describe('Largest image to decode, in pixels; larger ones are skipped and listed')
    .meta(of('run')),
  seed: count(0, 2 ** 31 - 1)
    .default(0)
    .describe('Seed of everything random')
    .meta(of('run')),

  vocab: text()
    .default('in21k')
    .describe('Names to choose from: in21k, in1k, wordnet, demo, or a .txt, .csv or .json file')
    .meta(of('discover')),
  embeddings: text()
    .optional()
    .describe('Features of any encoder instead of images: a .npy of float32 or float16, a row an image')
    .meta(of('discover')),
  prototypes: text()
    .optional()
    .describe("A .npy of the names' features by the same model's text encoder, with --embeddings")
    .meta(of('discover')),
  names: text().optional().describe('A .json array of the names of these rows, with --embeddings').meta(of('discover')),
  rows: text()
    .optional()
    .describe('A .json array of what the rows of --embeddings are called; default their numbers')
    .meta(of('discover')),
  logitScale: z
    .number()
    .positive()
    .max(1e6)
    .optional()
    .describe("Factor of cosines before the softmax of confidences; default the model's own, 100 with --embeddings")
    .meta(of('discover')),
  method: z
    .enum(['auto', 's3a'])
    .default('auto')
    .describe('How clusters get their names: auto, or s3a as the paper has it')
    .meta(of('discover')),
  k: z
    .union([count(1, 1_000_000), z.literal('estimate'), z.literal('auto')])
    .default('auto')
    .describe(
      'Number of kinds of things, estimate to search for it, or auto: the estimate, over-clustered by any method',
    )
    .meta(of('discover')),
  overCluster: z
    .number()
    .min(1)
    .max(10)
    .default(1.15)
    .describe('Clusters as a multiple of --k: with --method auto, which merges those of one name, or with --k auto')
    .meta(of('discover')),
  kMin: count(2, 1_000_000).default(50).describe('Least number of clusters that estimate tries').meta(of('discover')),
  kMax: count(2, 1_000_000)
    .default(2000)
    .describe('Greatest number of clusters that estimate tries')
    .meta(of('discover')),
  nInit: count(1, 1000).default(17).describe('Starts of k-means; the best is kept').meta(of('discover')),
  maxIterations: count(1, 1_000_000).default(1000).describe('Most iterations of a k-means start').meta(of('discover')),
  rounds: count(1, 100).default(3).describe('Rounds of vote and re-assignment').meta(of('discover')),
  voteTop: count(1, 100)
    .default(5)
    .describe("Names that share an image's vote, with --method auto")
    .meta(of('discover')),
  hubCorrection: share()
    .default(0)
    .describe('How much names that are near every image are held back, with --method auto')
    .meta(of('discover')),
  manyToOne: z
    .boolean()
    .default(true)
    .describe('Let several clusters take one name, with --method auto')
    .meta(of('discover')),
  unknownBelow: share()
    .default(0.1)
    .describe(
      "Least share of a group's votes that its name must have, with --method auto; otherwise the group is unknown",
    )
    .meta(of('discover')),
  neighbours: count(0, 1000)
    .default(10)
    .describe('Images like it that an image is smoothed with, with --method auto; 0 for none')
    .meta(of('discover')),
  smoothing: z.number().min(0).max(1000).default(7).describe('Weight of these neighbours').meta(of('discover')),
  promptMargin: share()
    .optional()
    .describe(
      "With --method auto: ask about groups whose second name's votes come this near to the first's, 0 none, 1 all; default 0.5 with a language model, 0 with gloss",
    )
    .meta(of('discover')),
  minConfidence: share()
    .default(0)
    .describe('Labels that are less probable than this become unknown')
    .meta(of('discover')),
  candidates: count(1, 100).default(3).describe('Names a cluster that the prompts tell apart').meta(of('discover')),
  templates: z
    .array(template)
    .min(1)
    .default([...TEMPLATES])
    .describe('Text that a name is put into, with {} for the name; repeatable')
    .meta(of('discover', 'template')),
  phraseFormats: z
    .array(phraseFormat)
    .default([])
    .describe('Text with {name} and {phrase}; repeatable. Without any, both orders in every template')
    .meta(of('discover', 'phrase-format')),

  llm: z
    .enum(['gloss', 'replay', 'openai', 'gguf'])
    .default('gloss')
    .describe(
      'Where phrases come from: gloss (offline, from definitions), replay (an earlier run), openai (any server that speaks its API), gguf (a local model file)',
    )
    .meta(of('llm')),
  llmModel: text()
    .optional()
    .describe('Name of the language model, as its server knows it; for gguf the .gguf file')
    .meta(of('llm')),
  llmBaseUrl: text()
    .optional()
    .describe(
      'Address of the server, or openai, ollama, vllm, llama.cpp or lmstudio; without it S3A_LLM_BASE_URL, OPENAI_BASE_URL or OpenAI. The key is in S3A_LLM_KEY',
    )
    .meta(of('llm')),
  llmReplay: text().optional().describe('The prompts.jsonl of an earlier run, for --llm replay').meta(of('llm')),
  llmRepeats: count(1, 100).default(3).describe('Answers that are counted for each cluster').meta(of('llm')),
  llmMaxAsks: count(1, 100)
    .default(3)
    .describe('Times that one answer is asked for before it is given up')
    .meta(of('llm')),
  llmConcurrency: count(1, 256).default(4).describe('Clusters asked about at a time').meta(of('llm')),
  llmTemperature: z.number().min(0).max(2).default(0.7).describe('Sampling temperature').meta(of('llm')),
  llmMaxRequests: count(1)
    .optional()
    .describe('Most requests that may be sent in all, those before a resume included')
    .meta(of('llm')),
  llmTimeout: count(1, 86_400_000)
    .default(120_000)
    .describe('Longest wait for one answer, in milliseconds')
    .meta(of('llm')),

  epochs: count(1, 100_000).default(30).describe('Epochs').meta(of('train')),
  batchSize: count(1, 65_536).default(128).describe('Images a step').meta(of('train')),
  microBatch: count(1, 65_536)
    .optional()
    .describe('Images computed at once, to save memory; a step adds up several. Default all of the batch')
    .meta(of('train')),
  stepsPerExecution: count(1, 65_536)
    .optional()
    .describe(
      'Steps in one call of the device; default 1, on cuda as many as 2 GiB of batches are, at most 32. Not on webgpu',
    )
    .meta(of('train')),
  gradCheckpointing: z
    .boolean()
    .default(false)
    .describe(
      'Compute activations again in the backward pass: much less memory for one more forward pass, the same result',
    )
    .meta(of('train')),
  precision: z
    .enum(PRECISIONS)
    .default('fp32')
    .describe('fp32, or amp: products in float16 with a loss scale, weights and all else in float32; for a GPU')
    .meta(of('train')),
  tune: z
    .enum(TUNES)
    .default('full')
    .describe(
      'What is trained: full (the image tower), lora (factors of low rank), last-blocks or head (on activations that are computed once)',
    )
    .meta(of('train')),
  freezeLayers: count(0, 1000)
    .optional()
    .describe(
      'First blocks that stay as they are, with the embeddings; default 0, with last-blocks all but the last third',
    )
    .meta(of('train')),
  loraRank: count(1, 4096).default(8).describe('Rank of the factors of --tune lora').meta(of('train')),
  loraAlpha: z
    .number()
    .positive()
    .max(1e6)
    .optional()
    .describe('Scale of what --tune lora adds, times its rank; default the rank')
    .meta(of('train')),
  patchDropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('Share of the patches that the student does not see')
    .meta(of('train')),
  cachedViews: count(1, 1000)
    .default(4)
    .describe('Strong views of each image that last-blocks and head keep activations of, taken in turn')
    .meta(of('train')),
  maxStepsPerEpoch: count().default(1000).describe('Most steps of an epoch').meta(of('train')),
  lr: z
    .number()
    .positive()
    .max(1)
    .nullable()
    .default(null)
    .describe('Learning rate at the first step; default 2e-5 x batch size / 256')
    .meta(of('train')),
  minLr: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('Learning rate that the cosine falls to; default a twentieth of the first')
    .meta(of('train')),
  weightDecay: share().default(0.05).describe('Weight decay of AdamW').meta(of('train')),
  layerDecay: z
    .number()
    .positive()
    .max(1)
    .default(0.65)
    .describe('Factor of the learning rate from each layer to the one before it')
    .meta(of('train')),
  clipNorm: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe('Greatest norm of the gradient; default no limit')
    .meta(of('train')),
  threshold: share()
    .default(0.5)
    .describe('Confidence above which the teacher labels an image for the student')
    .meta(of('train')),
  instanceWeight: z.number().min(0).max(1000).default(1).describe('Weight of the instance loss').meta(of('train')),
  structuralWeight: z
    .number()
    .min(0)
    .max(1000)
    .default(0.25)
    .describe('Weight of the structural loss')
    .meta(of('train')),
  emaStart: share().default(0.999).describe("Decay of the teacher's average at the first step").meta(of('train')),
  emaEnd: share().default(0.9998).describe("Decay of the teacher's average after the ramp").meta(of('train')),
  emaSteps: count(0).default(2000).describe('Steps of that ramp').meta(of('train')),
  renewFrom: count(0).default(2).describe('First epoch whose structural labels the teacher renews').meta(of('train')),
  track: z
    .array(z.enum(TRACKERS))
    .default([])
    .describe('Where the figures of the training go besides metrics.jsonl; repeatable')
    .meta(of('train')),
  mlflowUri: text()
    .optional()
    .describe('Address of the MLflow server for --track mlflow; default MLFLOW_TRACKING_URI')
    .meta(of('train')),
});

/** All settings, complete. */
export type Config = z.output<typeof configSchema>;
/** Settings as given; what is left out gets its default. */
export type ConfigInput = z.input<typeof configSchema>;
export type ConfigKey = keyof Config;
