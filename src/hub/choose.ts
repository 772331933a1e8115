/** Which files of a repository are needed: configs, tokenizer, and one of the forms its weights come in. */
import { S3aError } from '../errors.ts';
import { isFilePath, shown } from './names.ts';

/** Who wrote the weights down. */
export type Layout = 'transformers' | 'open_clip' | 'onnx';

/** One form in which the weights of a model are there. */
export interface Weights {
  readonly layout: Layout;
  readonly format: 'safetensors' | 'pytorch' | 'onnx';
  /** The file that stands for all of them: the only one, the index of shards, or the image tower of two graphs. */
  readonly entry: string;
  /** All files, the index included. */
  readonly files: readonly string[];
}

/** What the configs of a repository say. */
export interface Configs {
  /** `model_type` of config.json; undefined when there is none, as in timm's. */
  readonly modelType: string | undefined;
  readonly hasOpenClip: boolean;
  /** Where open_clip_config.json says that the tokenizer is. */
  readonly tokenizer: string | undefined;
}

/** Reads a JSON file of the repository. */
export type ReadJson = (name: string) => Promise<unknown>;

const CONFIGS = ['config.json', 'open_clip_config.json'];
const BESIDE = ['preprocessor_config.json', 'processor_config.json'];
// transformers' SigLIP tokenizer wants spiece.model even where tokenizer.json says the same.
const TOKENIZER_BESIDE = ['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'spiece.model'];
// The first that is there is enough.
const TOKENIZERS = [['tokenizer.json'], ['vocab.json', 'merges.txt'], ['spiece.model'], ['tokenizer.model']];

// Best first: safetensors before pickles, and of one format transformers' names, which are ours, first.
const FORMS: readonly [Layout, Weights['format'], entry: string][] = [
  ['transformers', 'safetensors', 'model.safetensors'],
  ['transformers', 'safetensors', 'model.safetensors.index.json'],
  ['open_clip', 'safetensors', 'open_clip_model.safetensors'],
  ['transformers', 'pytorch', 'pytorch_model.bin'],
  ['transformers', 'pytorch', 'pytorch_model.bin.index.json'],
  ['open_clip', 'pytorch', 'open_clip_pytorch_model.bin'],
];
// Full precision first.
const ONNX_KINDS = ['', '_fp16', '_quantized', '_int8', '_uint8'];
const TOWERS = ['vision_model', 'text_model'];
const MAX_SHARDS = 1000;

interface Names {
  has(name: string): boolean;
  keys(): Iterable<string>;
}

/** The configs among `names`, which decide about the weights. */
function configsAmong(names: Names): string[] {
  return CONFIGS.filter(name => names.has(name));
}

/** The files of the tokenizer among `names`; empty when there is none. */
export function tokenizerAmong(names: Names): string[] {
  const found = TOKENIZERS.find(files => files.every(name => names.has(name)));
  return found ? [...new Set([...found, ...TOKENIZER_BESIDE.filter(name => names.has(name))])] : [];
}

/** All small files among `names` that are needed. */
export function smallAmong(names: Names): string[] {
  return [...configsAmong(names), ...BESIDE.filter(name => names.has(name)), ...tokenizerAmong(names)];
}

/** What the configs say. Throws what `read` throws. */
export async function readConfigs(names: Names, read: ReadJson): Promise<Configs> {
  const config = names.has('config.json') ? await read('config.json') : undefined;
  const openClip = names.has('open_clip_config.json') ? await read('open_clip_config.json') : undefined;
  const modelType = member(config, 'model_type');
  const tokenizer = member(member(member(openClip, 'model_cfg'), 'text_cfg'), 'hf_tokenizer_name');
  return {
    modelType: typeof modelType === 'string' ? modelType : undefined,
    hasOpenClip: openClip !== undefined,
    tokenizer: typeof tokenizer === 'string' ? tokenizer : undefined,
  };
}

/**
 * The forms of weights among `names`, best first; files that an index names need not be among them.
 * @param layout only this one
 *
 * Throws S3aError MODEL for an index that cannot be one, and what `read` throws.
 */
export async function weightsAmong(
  names: Names,
  configs: Configs,
  read: ReadJson,
  layout?: Layout,
): Promise<Weights[]> {
  // Without a model_type, model.safetensors may be anything: timm's repositories keep the image tower alone there.
  const readable = { transformers: configs.modelType !== undefined, open_clip: configs.hasOpenClip, onnx: true };
  if (layout === 'open_clip') readable.open_clip = true;
  const found: Weights[] = [];
  for (const [itsLayout, format, entry] of FORMS) {
    if (!names.has(entry) || !readable[itsLayout]) continue;
    const files = entry.endsWith('.index.json') ? [entry, ...shardsOf(entry, await read(entry))] : [entry];
    found.push({ layout: itsLayout, format, entry, files });
  }
  if (readable.transformers) found.push(...onnxAmong(names));
  return layout === undefined ? found : found.filter(form => form.layout === layout);
}

/** The graphs of a transformers.js repository, with the files that their tensors may be kept in. */
function onnxAmong(names: Names): Weights[] {
  // The scale of the logits, and the bias of a sigmoid, are in the graph of both towers only.
  const sets = [['model'], TOWERS];
  return ONNX_KINDS.flatMap(kind =>
    sets.flatMap(set => {
      const graphs = set.map(name => `onnx/${name}${kind}.onnx`);
      if (!graphs.every(name => names.has(name))) return [];
      const isData = (name: string): boolean =>
        graphs.some(graph => /^[._]data/.test(name.slice(graph.length)) && name.startsWith(graph));
      const files = [...graphs, ...[...names.keys()].filter(isData)];
      return [{ layout: 'onnx' as const, format: 'onnx' as const, entry: graphs[0], files }];
    }),
  );
}

function shardsOf(index: string, value: unknown): string[] {
  const map = member(value, 'weight_map');
  const shards = typeof map === 'object' && map !== null ? [...new Set<unknown>(Object.values(map))] : [];
  const wrong = shards.find(
    name => typeof name !== 'string' || !isFilePath(name) || !/^[^/]+\.(?:safetensors|bin)$/.test(name),
  );
  if (shards.length === 0 || shards.length > MAX_SHARDS || wrong !== undefined) {
    const what =
      wrong === undefined ? `it names ${shards.length} files` : `${shown(String(wrong))} is not a file beside it`;
    throw new S3aError(
      'MODEL',
      `${index} is not an index of weights: ${what}`,
      'Choose another revision of the model.',
    );
  }
  return (shards as string[]).sort();
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
