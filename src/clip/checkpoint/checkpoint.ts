/** A model on disk, in whatever format: opened, checked, and read weight by weight. */
import { S3aError } from '../../errors.ts';
import { type ResolveOptions, resolveModel } from '../../hub/index.ts';
import { packageFile } from '../../vocab/package-root.ts';
import type { Preprocess } from '../preprocess.ts';
import { createSiglipTokenizer } from '../tokenizer/siglip.ts';
import { type ClipTokenizer, createTokenizer } from '../tokenizer/tokenizer.ts';
import type { ClipConfig } from '../towers/config.ts';
import type { Parameter } from '../towers/parameters.ts';
import { textParameters } from '../towers/text.ts';
import { visionParameters } from '../towers/vision.ts';
import { onnxFormat } from './formats/onnx.ts';
import { openClipFormat } from './formats/open-clip.ts';
import { openAiFormat } from './formats/openai.ts';
import { transformersFormat } from './formats/transformers.ts';
import {
  checkWeights,
  eachWeight,
  type ModelFormat,
  type ModelPlace,
  type ModelSource,
  type TakeWeight,
  type TokenizerFiles,
} from './source.ts';

export interface Checkpoint {
  readonly config: ClipConfig;
  readonly preprocess: Preprocess;
  readonly tokenizer: ClipTokenizer;
  readonly tokenizerFiles: TokenizerFiles;
  /** The files that make the model; their bytes identify it. */
  readonly identity: readonly string[];
  /** What a user should know about these files, a sentence each. */
  readonly notes: readonly string[];
  /** Where on the hub it comes from. */
  readonly origin?: { readonly repo: string; readonly revision: string };
  /** Reads weights by name as float32, from the disk at every call; throws S3aError WEIGHTS for other names. */
  readWeights(names: readonly string[]): Promise<Record<string, Float32Array<ArrayBuffer>>>;
  /** As `readWeights`, one after the other, so that only one of them need be in memory. */
  eachWeight(names: readonly string[], take: TakeWeight): Promise<void>;
}

/** Tried in this order; the first that knows the place reads it. */
const FORMATS: readonly ModelFormat[] = [transformersFormat, openClipFormat, openAiFormat, onnxFormat];

/** All weights of a model: both towers and the logit scale, with SigLIP also the logit bias. */
export function clipParameters(config: ClipConfig): Parameter[] {
  const towers = [...visionParameters(config), ...textParameters(config)];
  if (config.model_type !== 'siglip') return [...towers, { name: 'logit_scale', shape: [] }];
  return [...towers, { name: 'logit_scale', shape: [1] }, { name: 'logit_bias', shape: [1] }];
}

/**
 * Opens a model and checks all of it but the numbers: config, tokenizer, preprocessor, and that the weights are exactly
 * those the config asks for.
 * @param model `demo` for the model inside the package, or what `resolveModel` takes: a folder, a file of weights, a name
 * on the hub, a name of open_clip's with `pretrained`
 * @throws S3aError MODEL when there is no model, MODEL_CONFIG, TOKENIZER, WEIGHTS, and what the hub and the file formats
 * throw
 */
export async function loadCheckpoint(model: string, options: ResolveOptions = {}): Promise<Checkpoint> {
  const { origin, ...place } = await placeOf(model, options);
  const source = await openSource(place, model);
  const { config, preprocess, tokenizerFiles, tokenizerPlace, identity, notes = [] } = source;
  const create = config.model_type === 'siglip' ? createSiglipTokenizer : createTokenizer;
  const tokenizer = create(tokenizerFiles.tokenizer, tokenizerFiles.tokenizerConfig, tokenizerPlace);
  if (tokenizer.vocabularySize > config.text_config.vocab_size) {
    throw new S3aError(
      'TOKENIZER',
      `${tokenizerPlace} has ${tokenizer.vocabularySize} tokens, but the model knows ${config.text_config.vocab_size}`,
    );
  }
  await checkWeights(source, clipParameters(config));
  return {
    config,
    preprocess,
    tokenizer,
    tokenizerFiles,
    identity,
    notes,
    origin,
    async readWeights(names) {
      const weights: Record<string, Float32Array<ArrayBuffer>> = {};
      await eachWeight(source, names, (name, data) => {
        weights[name] = data;
      });
      return weights;
    },
    eachWeight: (names, take) => eachWeight(source, names, take),
  };
}

async function placeOf(
  model: string,
  options: ResolveOptions,
): Promise<ModelPlace & { origin?: { repo: string; revision: string } }> {
  if (model === 'demo' && options.pretrained === undefined) return { folder: packageFile('demo/model') };
  const { folder, weights, architecture, tokenizer, repo, revision } = await resolveModel(model, options);
  const origin = repo !== undefined && revision !== undefined ? { repo, revision } : undefined;
  return { folder, file: weights, architecture, tokenizer, origin };
}

async function openSource(place: ModelPlace, model: string): Promise<ModelSource> {
  for (const format of FORMATS) {
    const source = await format.open(place);
    if (source) return source;
  }
  throw new S3aError(
    'MODEL',
    `there is no model at '${model}'`,
    `Known are ${FORMATS.map(({ name, mark }) => `${name} (${mark})`).join(', ')}, and 'demo'.`,
  );
}
