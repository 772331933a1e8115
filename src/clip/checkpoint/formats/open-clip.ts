/** Models of open_clip: folders with open_clip_config.json, and files of weights whose architecture is said. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { S3aError } from '../../../errors.ts';
import { readJson } from '../../../io/json.ts';
import { readClipTokenizer } from '../../tokenizer/files.ts';
import type { ClipConfig } from '../../towers/config.ts';
import { textParameters } from '../../towers/text.ts';
import { visionParameters } from '../../towers/vision.ts';
import { openClipArchitecture } from '../architectures.ts';
import type { ModelFormat, ModelPlace, ModelSource } from '../source.ts';
import { openClipModel } from './open-clip-config.ts';
import { isOpenClipExtra, locateOpenClip } from './open-clip-names.ts';
import { openClipPreprocess } from './open-clip-preprocess.ts';
import { openClipSiglip } from './open-clip-siglip.ts';
import { firstIn, openWeightsFile, peek, withZeros } from './weights-file.ts';

const CONFIG = 'open_clip_config.json';

// The order in which open_clip looks.
const WEIGHTS = [
  'open_clip_model.safetensors',
  'open_clip_pytorch_model.safetensors',
  'open_clip_pytorch_model.bin',
  'open_clip_pytorch_model.pth',
  'model.safetensors',
  'pytorch_model.bin',
  'pytorch_model.pth',
  'model.pth',
];

/** A model of open_clip whose files have been found. */
export interface OpenClipFiles {
  readonly folder: string;
  /** Folder of the tokenizer. */
  readonly tokenizerFolder: string;
  /** The parsed `model_cfg` and `preprocess_cfg`. */
  readonly model: unknown;
  readonly preprocess: unknown;
  /** Where these are from, for messages. */
  readonly where: string;
  /** Path of the file of weights. */
  readonly weights: string;
  /** Files whose bytes make the model. */
  readonly identity: readonly string[];
  /** Whether the activation is QuickGELU, where it is known better than the configuration knows it. */
  readonly quickGelu?: boolean;
  readonly notes?: readonly string[];
}

/** Reads the models of one kind, and says undefined to others. */
export type OpenClipFamily = (files: OpenClipFiles) => Promise<ModelSource | undefined>;

/** Tried in this order; the last one takes what is left and refuses what it does not know. */
const FAMILIES: readonly OpenClipFamily[] = [openClipSiglip, openClipVit];

/** open_clip_config.json, or an architecture of open_clip's with a file of weights. */
export const openClipFormat: ModelFormat = {
  name: 'open_clip',
  mark: 'open_clip_config.json with open_clip_model.safetensors or open_clip_pytorch_model.bin',
  async open(place) {
    const files = await filesAt(place);
    if (!files) return undefined;
    for (const family of FAMILIES) {
      const source = await family(files);
      if (source) return source;
    }
    return undefined;
  },
};

async function filesAt({ folder, file, architecture, tokenizer }: ModelPlace): Promise<OpenClipFiles | undefined> {
  const path = join(folder, CONFIG);
  const isKnown = file === undefined || WEIGHTS.includes(file);
  const hasConfig = existsSync(path);
  const tokenizerFolder = tokenizer ?? folder;
  // A configuration is of the files beside it that have the usual names; for any other, what the user says counts more.
  if (hasConfig && (isKnown || architecture === undefined)) {
    if (file?.endsWith('.onnx')) return undefined;
    const weights = file ?? firstIn(folder, WEIGHTS);
    if (weights === undefined) {
      throw new S3aError('MODEL', `${folder} has ${CONFIG} but no weights`, `They are expected in ${WEIGHTS[0]}.`);
    }
    const { model_cfg: model, preprocess_cfg: preprocess } = await readConfig(path);
    const where = path;
    const identity = [path, join(folder, weights)];
    const quick = architecture?.endsWith('-quickgelu') ? { quickGelu: true } : {};
    return { folder, tokenizerFolder, model, preprocess, where, weights: join(folder, weights), identity, ...quick };
  }
  if (architecture === undefined || file === undefined) return undefined;
  const { model, preprocess } = openClipArchitecture(architecture);
  const weights = join(folder, file);
  const base = { folder, tokenizerFolder, model, preprocess, where: architecture, weights, identity: [weights] };
  // OpenAI's own files say what they are by three sizes that nobody else saves.
  if (!(await peek(weights, found => found.has('input_resolution')))) return base;
  const notes = architecture.endsWith('-quickgelu') ? [] : ["The weights are OpenAI's, which are of QuickGELU."];
  return { ...base, quickGelu: true, notes };
}

const configSchema = z.looseObject({ model_cfg: z.looseObject({}), preprocess_cfg: z.unknown().optional() });

async function readConfig(path: string): Promise<z.output<typeof configSchema>> {
  const parsed = configSchema.safeParse(await readJson(path));
  if (!parsed.success) throw new S3aError('MODEL_CONFIG', `${path} has no model_cfg`);
  return parsed.data;
}

/**
 * A vision transformer with CLIP's text transformer.
 * @throws S3aError MODEL_CONFIG for a field that CLIPModel has no equal for, TOKENIZER, and what the file of weights throws
 */
export async function openClipVit(files: OpenClipFiles): Promise<ModelSource> {
  const { model, preprocess, where, weights, identity, quickGelu, notes = [] } = files;
  const { config, biasless, tokenizer } = openClipModel(model, where, quickGelu);
  const size = config.vision_config.image_size;
  const prefix = (await peek(weights, file => file.has('text.positional_embedding'))) ? 'text.' : '';
  const locate = (name: string) => locateOpenClip(config, prefix, name);
  const zeros = new Map(
    [...visionParameters(config), ...textParameters(config)]
      .filter(({ name }) => /norm\d?\.bias$/.test(name) && biasless.some(tower => name.startsWith(tower)))
      .map(({ name, shape }) => [locate(name).name, shape[0]]),
  );
  const found = await tokenizerOf(files, config, tokenizer);
  return {
    config,
    preprocess: openClipPreprocess(preprocess, size, where),
    ...found,
    identity: [...identity, ...found.identity],
    notes: [...notes, ...found.notes],
    openWeights: async () => withZeros(await openWeightsFile(weights), zeros),
    locate,
    isExtra: isOpenClipExtra,
  };
}

async function tokenizerOf(files: OpenClipFiles, config: ClipConfig, name: string | undefined) {
  const { tokenizerFolder: folder, where } = files;
  const words = config.text_config.vocab_size;
  const found = await readClipTokenizer(folder, words);
  if (found.path) return { ...found, identity: [found.path] };
  // CLIP's own may stand for itself alone.
  if (name !== undefined && !/^openai\/clip-vit-/.test(name)) {
    throw new S3aError('TOKENIZER', `${where} asks for the tokenizer ${name}, but ${folder} has no tokenizer.json`);
  }
  return { ...found, identity: [] };
}
