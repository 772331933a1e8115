/** What a folder in sentence-transformers' layout says: how texts become tokens, and token features a vector. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { S3aError } from '../errors.ts';
import type { WantedFiles } from '../hub/index.ts';
import { readJson } from '../io/json.ts';
import { POOLING_MODES, type PoolingMode } from './pooling.ts';

export interface SentenceFolder {
  /** The ONNX file, which is there. */
  readonly model: string;
  /** Content of tokenizer.json and tokenizer_config.json. */
  readonly tokenizer: unknown;
  readonly tokenizerConfig: unknown;
  /** Most tokens of a text, special ones included. */
  readonly maxLength: number;
  /** Whether texts are lowered before anything else. */
  readonly lower: boolean;
  /** Put before every text. */
  readonly prefix: string;
  /** The token that fills a row, where the tokenizer does not say. */
  readonly padding: number | undefined;
  /** Their vectors are put one after another. */
  readonly pooling: readonly PoolingMode[];
  /** Whether the vectors are made of unit length. */
  readonly normalise: boolean;
}

const EXPORT = 'Export it: optimum-cli export onnx --task feature-extraction --model';
const LIMIT = 16 << 20;
const TOKENIZER_LIMIT = 128 << 20;
const MAX_LENGTH = 8192;
const MODEL_FILES = ['onnx/model.onnx', 'model.onnx'];
const JSON_FILES = ['config.json', 'modules.json', 'sentence_bert_config.json', 'config_sentence_transformers.json'];
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json'];

/** What to download of a sentence model: the float32 graph, the tokenizer and the small configs. */
export const SENTENCE_FILES: WantedFiles = {
  files: names => {
    const model = MODEL_FILES.find(name => names.has(name)) ?? MODEL_FILES[0];
    const isPart = (name: string): boolean =>
      /^\d+_\w+\/config\.json$/.test(name) || (name.startsWith(model) && /^[._]data/.test(name.slice(model.length)));
    return [
      ...[...JSON_FILES, ...TOKENIZER_FILES, model].filter(name => names.has(name)),
      ...[...names.keys()].filter(isPart),
    ];
  },
  lacks: names =>
    MODEL_FILES.some(name => names.has(name))
      ? ['config.json', 'tokenizer.json'].find(name => !names.has(name))
      : MODEL_FILES[0],
  hint: file => (file.endsWith('.onnx') ? `${EXPORT} <name> <folder>, and give that folder.` : 'Choose another model.'),
  byHand: { needed: 'all .json files, 1_Pooling and onnx/model.onnx', flag: '--semantic-model' },
};

const modulesSchema = z.array(z.looseObject({ type: z.string().max(500), path: z.string().max(500) })).max(20);
const lengthSchema = z.looseObject({
  max_seq_length: z.number().min(3).nullish(),
  do_lower_case: z.boolean().nullish(),
});
const configSchema = z.looseObject({
  max_position_embeddings: z.int().min(3).nullish(),
  pad_token_id: z
    .int()
    .min(0)
    .max(2 ** 31)
    .nullish(),
});
const tokenizerConfigSchema = z.looseObject({ model_max_length: z.number().min(3).nullish() });
const promptsSchema = z.looseObject({
  prompts: z.record(z.string(), z.string().max(10_000)).nullish(),
  default_prompt_name: z.string().nullish(),
});
const mode = z.enum(POOLING_MODES);
// In the order of their vectors, as sentence-transformers has it.
const OLD_KEYS: readonly [key: string, PoolingMode][] = [
  ['cls_token', 'cls'],
  ['max_tokens', 'max'],
  ['mean_tokens', 'mean'],
  ['mean_sqrt_len_tokens', 'mean_sqrt_len_tokens'],
  ['weightedmean_tokens', 'weightedmean'],
  ['lasttoken', 'lasttoken'],
];
const poolingSchema = z.looseObject({
  pooling_mode: z.union([mode, z.array(mode).min(1)]).optional(),
  include_prompt: z.boolean().nullish(),
});

/**
 * Reads the configs of a sentence model. A folder without modules.json is pooled by its mean, as sentence-transformers does.
 * @throws S3aError MODEL for a layout that cannot be followed or an ONNX file that is missing; READ, JSON
 */
export async function readSentenceFolder(folder: string): Promise<SentenceFolder> {
  const at = (...parts: string[]): string => join(folder, ...parts);
  const model = MODEL_FILES.find(name => existsSync(at(name)));
  if (model === undefined) {
    const hint = `${EXPORT} ${folder} ${at('onnx')}`;
    throw new S3aError('MODEL', `${folder} has no ${MODEL_FILES[0]}`, hint);
  }
  if (!existsSync(at('tokenizer.json'))) {
    throw new S3aError('MODEL', `${folder} has no tokenizer.json`, 'Put that of the model beside its config.json.');
  }
  const optional = async <T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> =>
    existsSync(at(name)) ? parsed(schema, await readJson(at(name), LIMIT), at(name)) : undefined;
  const config = await optional('config.json', configSchema);
  const length = await optional('sentence_bert_config.json', lengthSchema);
  const tokenizerConfig = (await optional('tokenizer_config.json', tokenizerConfigSchema)) ?? {};
  const prompts = await optional('config_sentence_transformers.json', promptsSchema);
  const modules = await optional('modules.json', modulesSchema);
  const prefix = prompts?.prompts?.[prompts.default_prompt_name ?? ''] ?? '';
  const limits = length?.max_seq_length
    ? [length.max_seq_length]
    : [config?.max_position_embeddings ?? 512, tokenizerConfig.model_max_length ?? 512];
  return {
    model: at(model),
    tokenizer: await readJson(at('tokenizer.json'), TOKENIZER_LIMIT),
    tokenizerConfig,
    maxLength: Math.min(MAX_LENGTH, ...limits),
    lower: length?.do_lower_case ?? false,
    prefix: prompts?.default_prompt_name == null ? '' : prefix,
    padding: config?.pad_token_id ?? undefined,
    pooling: modules ? await readModules(folder, modules, prefix) : ['mean'],
    normalise: modules?.length === 3,
  };
}

/** The pooling of the listed modules, which must be a transformer, a pooling and maybe a normalisation. */
async function readModules(
  folder: string,
  modules: z.output<typeof modulesSchema>,
  prefix: string,
): Promise<readonly PoolingMode[]> {
  const kinds = modules.map(({ type }) => type.split('.').at(-1) ?? '');
  if (!/^Transformer,Pooling(,Normalize)?$/.test(kinds.join())) {
    throw new S3aError(
      'MODEL',
      `${join(folder, 'modules.json')} lists ${kinds.join(', ').slice(0, 200)}, not a Transformer, Pooling and Normalize`,
      'Choose another sentence model, such as sentence-transformers/all-mpnet-base-v2.',
    );
  }
  // A plain name: it must not lead out of the folder.
  const { path } = modules[1];
  if (!/^\w[\w.-]*$/.test(path)) {
    throw new S3aError('MODEL', `${join(folder, 'modules.json')}: ${JSON.stringify(path)} is not a folder in it`);
  }
  const file = join(folder, path, 'config.json');
  const config = parsed(poolingSchema, await readJson(file, LIMIT), file);
  if (prefix !== '' && config.include_prompt === false) {
    throw new S3aError('MODEL', `${file} leaves the prompt out of the pooling, which s3a does not`, 'Choose another.');
  }
  if (config.pooling_mode !== undefined) {
    return typeof config.pooling_mode === 'string' ? [config.pooling_mode] : config.pooling_mode;
  }
  const modes = OLD_KEYS.filter(([key]) => config[`pooling_mode_${key}`] === true).map(([, its]) => its);
  return modes.length > 0 ? modes : ['mean'];
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, path: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [{ path: where, message }] = result.error.issues;
  throw new S3aError('MODEL', `${path}${where.length > 0 ? `, ${where.join('.')}` : ''}: ${message}`);
}
