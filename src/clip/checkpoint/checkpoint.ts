/** Model folders in the Hugging Face layout: config.json, model.safetensors, tokenizer and preprocessor files. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { sameShape, showShape, sizeOf } from '../../engine/shape.ts';
import { S3aError } from '../../errors.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { readJson } from '../../io/json.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../../io/safetensors.ts';
import { packageFile } from '../../vocab/package-root.ts';
import { type Preprocess, parsePreprocess, preprocessJson } from '../preprocess.ts';
import { type ClipTokenizer, createTokenizer } from '../tokenizer/tokenizer.ts';
import { type ClipConfig, clipConfigText, parseClipConfig } from '../towers/config.ts';
import type { Parameter } from '../towers/parameters.ts';
import { textParameters } from '../towers/text.ts';
import { visionParameters } from '../towers/vision.ts';

/** The parsed tokenizer files, kept as they are so that they can be written again. */
export interface TokenizerFiles {
  readonly tokenizer: unknown;
  readonly tokenizerConfig: unknown;
}

export interface Checkpoint {
  readonly folder: string;
  readonly config: ClipConfig;
  readonly preprocess: Preprocess;
  readonly tokenizer: ClipTokenizer;
  readonly tokenizerFiles: TokenizerFiles;
  /** Reads weights by name as float32, from the disk at every call; throws S3aError WEIGHTS for other names. */
  readWeights(names: readonly string[]): Promise<Record<string, Float32Array<ArrayBuffer>>>;
}

// Tables of 0, 1, 2, … that older versions of transformers saved; they are no weights.
const BUFFERS = new Set(['text_model.embeddings.position_ids', 'vision_model.embeddings.position_ids']);

/** All weights of a saved model: both towers and the logit scale. */
export function clipParameters(config: ClipConfig): Parameter[] {
  return [...visionParameters(config), ...textParameters(config), { name: 'logit_scale', shape: [] }];
}

/**
 * Opens a model folder and checks all of it but the numbers: config, tokenizer, preprocessor, and that the weights are
 * exactly those the config asks for.
 * @param model a folder, or `demo` for the model inside the package
 * @throws S3aError MODEL when there is no such folder, MODEL_CONFIG, TOKENIZER, WEIGHTS, READ, JSON or SAFETENSORS
 */
export async function loadCheckpoint(model: string): Promise<Checkpoint> {
  const folder = model === 'demo' ? packageFile('demo/model') : model;
  const at = (name: string): string => join(folder, name);
  if (!existsSync(at('config.json'))) {
    throw new S3aError(
      'MODEL',
      `there is no model at '${model}': it has no config.json`,
      "Give a local folder in the Hugging Face layout, or 'demo'.",
    );
  }
  const config = parseClipConfig(await readJson(at('config.json')), at('config.json'));
  const tokenizer = await readJson(at('tokenizer.json'));
  const tokenizerConfig = await readJson(at('tokenizer_config.json'));
  const made = createTokenizer(tokenizer, tokenizerConfig, at('tokenizer.json'));
  if (made.vocabularySize > config.text_config.vocab_size) {
    throw new S3aError(
      'TOKENIZER',
      `${at('tokenizer.json')} has ${made.vocabularySize} tokens, but the model knows ${config.text_config.vocab_size}`,
    );
  }
  const json = existsSync(at('preprocessor_config.json')) ? await readJson(at('preprocessor_config.json')) : {};
  const preprocess = parsePreprocess(json, config.vision_config.image_size, at('preprocessor_config.json'));
  await checkWeights(at('model.safetensors'), clipParameters(config));
  return {
    folder,
    config,
    preprocess,
    tokenizer: made,
    tokenizerFiles: { tokenizer, tokenizerConfig },
    readWeights: names => readWeights(at('model.safetensors'), names),
  };
}

async function checkWeights(path: string, parameters: readonly Parameter[]): Promise<void> {
  const file = await openSafetensors(path);
  try {
    const bad = (what: string): S3aError =>
      new S3aError('WEIGHTS', `${path} ${what}`, 'Its config.json describes another model, or the file is incomplete.');
    const missing = parameters.filter(p => !file.has(p.name)).map(p => p.name);
    if (missing.length > 0) throw bad(`lacks ${some(missing)}`);
    const known = new Set(parameters.map(p => p.name));
    const extra = file.names.filter(name => !known.has(name) && !BUFFERS.has(name));
    if (extra.length > 0) throw bad(`holds ${some(extra)}, which its config.json has no place for`);
    for (const { name, shape } of parameters) {
      const found = file.info(name).shape;
      if (!sameShape(found, shape)) throw bad(`has ${name} of shape ${showShape(found)}, not ${showShape(shape)}`);
    }
  } finally {
    await file.close();
  }
}

function some(names: readonly string[]): string {
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `the weight${names.length > 1 ? 's' : ''} ${names.slice(0, 3).join(', ')}${rest}`;
}

async function readWeights(path: string, names: readonly string[]): Promise<Record<string, Float32Array<ArrayBuffer>>> {
  const file = await openSafetensors(path);
  try {
    const weights: Record<string, Float32Array<ArrayBuffer>> = {};
    for (const name of names) {
      if (!file.has(name)) throw new S3aError('WEIGHTS', `${path} lacks the weight ${name}`);
      weights[name] = await file.readFloat32(name);
    }
    return weights;
  } finally {
    await file.close();
  }
}

export interface CheckpointContents {
  readonly config: ClipConfig;
  /** Every weight of `clipParameters(config)`, and no others. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly tokenizerFiles: TokenizerFiles;
  readonly preprocess: Preprocess;
  /** How the weights are stored; default float32. */
  readonly dtype?: 'float32' | 'float16';
}

/**
 * Writes a model folder that `loadCheckpoint` and, for a vision transformer, transformers read. Each file appears whole,
 * config.json last, so that a folder with a config.json is complete.
 * @throws S3aError WEIGHTS when a weight is missing, of the wrong size or unknown; WRITE
 */
export async function saveCheckpoint(folder: string, contents: CheckpointContents): Promise<void> {
  const { config, weights, tokenizerFiles, preprocess, dtype = 'float32' } = contents;
  const tensors: Record<string, TensorToWrite> = {};
  for (const { name, shape } of clipParameters(config)) {
    const data = weights[name];
    if (data?.length !== sizeOf(shape)) {
      throw new S3aError(
        'WEIGHTS',
        `cannot save ${name} ${showShape(shape)}: ${data ? `${data.length} values` : 'no such weight'}`,
      );
    }
    tensors[name] = { dtype: dtype === 'float16' ? 'F16' : 'F32', shape, data };
  }
  const extra = Object.keys(weights).filter(name => !(name in tensors));
  if (extra.length > 0) throw new S3aError('WEIGHTS', `cannot save ${some(extra)}: the config has no place for it`);
  const json = (name: string, value: unknown): Promise<void> =>
    writeAtomic(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  await json('tokenizer.json', tokenizerFiles.tokenizer);
  await json('tokenizer_config.json', tokenizerFiles.tokenizerConfig);
  await json('preprocessor_config.json', preprocessJson(preprocess));
  await writeAtomic(join(folder, 'config.json'), clipConfigText({ ...config, dtype }));
}
