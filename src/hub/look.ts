/** What a snapshot in the cache holds of a model, found without asking anybody. */
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { readJson } from '../io/json.ts';
import { filesIn } from './cache.ts';
import { type Layout, type ReadJson, readConfigs, tokenizerAmong, type Weights, weightsAmong } from './choose.ts';
import { shown } from './names.ts';

/** What is wanted of a repository. */
export interface Wanted {
  /** Only weights of this layout. */
  readonly layout?: Layout;
  /** For messages, what to place by hand and which option takes it, where that is no CLIP. */
  readonly byHand?: { readonly needed: string; readonly flag: string };
}

/** What a folder of the cache holds of a model. */
export interface Look {
  /** The best form of the weights that is whole. */
  readonly weights: Weights | undefined;
  readonly hasTokenizer: boolean;
  /** Where open_clip_config.json says that the tokenizer is, when it is not here. */
  readonly tokenizer: string | undefined;
  /** Whether the configs are those of CLIP or SigLIP; undefined when there are none. */
  readonly isClip: boolean | undefined;
  /** Of config.json. */
  readonly modelType: string | undefined;
  /** What is missing, when no form is whole; a file's name where it is known. */
  readonly missing: string;
}

const CONFIG_LIMIT = 16 << 20;
const MODEL_TYPES = new Set(['clip', 'siglip']);

/** Reads JSON files of a folder; throws what `readJson` throws. */
export function jsonReader(folder: string): ReadJson {
  return name => readJson(join(folder, name), CONFIG_LIMIT);
}

/**
 * Looks at the files of a snapshot; never fails.
 * @param file the one file that is wanted instead of the best form
 */
export async function lookAt(folder: string, { file }: { file?: string }, { layout }: Wanted): Promise<Look> {
  const names = await filesIn(folder);
  const read = jsonReader(folder);
  const configs = await readConfigs(names, read).catch(() => undefined);
  const hasTokenizer = tokenizerAmong(names).length > 0;
  const noConfig = configs?.modelType === undefined && !configs?.hasOpenClip;
  const isClip = noConfig ? undefined : configs.hasOpenClip || MODEL_TYPES.has(configs.modelType ?? '');
  const look = {
    hasTokenizer,
    tokenizer: hasTokenizer ? undefined : configs?.tokenizer,
    isClip,
    modelType: configs?.modelType,
    weights: undefined,
  };
  if (file !== undefined) {
    return names.has(file) ? { ...look, weights: oneFile(file, names), missing: '' } : { ...look, missing: file };
  }
  if (!configs) return { ...look, missing: 'a config.json that can be read' };
  const forms = await weightsAmong(names, configs, read, layout).catch(() => []);
  const weights = forms.find(form => form.files.every(name => names.has(name)));
  const lost = forms[0]?.files.find(name => !names.has(name));
  const needsConfig = noConfig && layout === undefined;
  return {
    ...look,
    weights,
    missing: lost ?? (needsConfig ? 'config.json' : 'its weights, such as model.safetensors'),
  };
}

/**
 * The one file that an address names, as weights.
 *
 * Throws S3aError MODEL when it is not among `names`.
 */
export function oneFile(file: string, names: ReadonlyMap<string, unknown>): Weights {
  if (!names.has(file)) {
    throw new S3aError('MODEL', `the model has no file ${shown(file)}`, 'Give the address of the model itself.');
  }
  const format = file.endsWith('.safetensors') ? 'safetensors' : file.endsWith('.onnx') ? 'onnx' : 'pytorch';
  const layout = format === 'onnx' ? 'onnx' : /(?:^|\/)open_clip/.test(file) ? 'open_clip' : 'transformers';
  return { layout, format, entry: file, files: [file] };
}
