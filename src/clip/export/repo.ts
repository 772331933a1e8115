/** A model as a Hugging Face repository: what transformers, transformers.js and, if wanted, open_clip load. */
import { join } from 'node:path';
import { sizeOf } from '../../engine/index.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { clipParameters } from '../checkpoint/checkpoint.ts';
import { saveCheckpoint } from '../checkpoint/save.ts';
import type { TokenizerFiles } from '../checkpoint/source.ts';
import type { Preprocess } from '../preprocess.ts';
import type { ClipConfig } from '../towers/config.ts';
import type { Weights } from './graph.ts';
import { exportOnnx, type Precision } from './onnx.ts';
import { openClipForm, writeOpenClip } from './open-clip.ts';

export interface RepoContents {
  readonly config: ClipConfig;
  /** Every weight of the config. */
  readonly weights: Weights;
  readonly tokenizerFiles: TokenizerFiles;
  readonly preprocess: Preprocess;
}

export interface RepoOptions {
  /** How model.safetensors is stored; default float32. */
  readonly dtype?: 'float32' | 'float16';
  /** Which ONNX files there are; default none. */
  readonly onnx?: readonly Precision[];
  /** Also write the model as open_clip has it. */
  readonly openClip?: boolean;
  /** Called as files grow, with the bytes of weights written to ONNX files and those to write in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Checks that a model can be written as asked, before anything is.
 * @returns the bytes of its weights in all files, an estimate of the space they need
 * @throws S3aError EXPORT
 */
export function planRepo(config: ClipConfig, { dtype = 'float32', onnx = [], openClip }: RepoOptions): number {
  if (openClip) openClipForm(config);
  const count = clipParameters(config).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const width = dtype === 'float16' ? 2 : 4;
  const widths = { float32: 4, float16: 2, int8: 1 };
  // Every precision has its towers apart and together.
  return count * (width * (openClip ? 2 : 1) + onnx.reduce((sum, precision) => sum + 2 * widths[precision], 0));
}

/**
 * Writes the files of a model into a folder.
 * @throws S3aError EXPORT when open_clip has no such model, WEIGHTS, WRITE
 */
export async function writeRepo(
  folder: string,
  { config, weights, tokenizerFiles, preprocess }: RepoContents,
  { dtype = 'float32', onnx = [], openClip = false, onProgress }: RepoOptions = {},
): Promise<void> {
  const beside = await exportOnnx(join(folder, 'onnx'), config, weights, onnx, { onProgress });
  if (openClip) {
    await writeOpenClip(folder, config, weights, { preprocess, tokenizer: tokenizerFiles.tokenizer, dtype });
  }
  const files = { ...tokenizerFiles, tokenizerConfig: tokenizerConfig(config, tokenizerFiles.tokenizerConfig) };
  await writeTokenizer(folder, files);
  await saveCheckpoint(folder, {
    config: repoConfig(config, beside),
    weights,
    preprocess,
    dtype,
    tokenizerFiles: files,
  });
}

/** config.json as each tower alone needs it too, and where transformers.js finds weights beside the graphs. */
function repoConfig(config: ClipConfig, beside: Readonly<Record<string, number>>): ClipConfig {
  const { 'transformers.js_config': _, ...rest } = config as ClipConfig & { 'transformers.js_config'?: unknown };
  const large = Object.keys(beside).length > 0;
  const own = large ? { 'transformers.js_config': { use_external_data_format: beside } } : {};
  if (config.model_type === 'siglip') return { architectures: ['SiglipModel'], ...rest, ...own } as ClipConfig;
  const { projection_dim } = config;
  return {
    architectures: ['CLIPModel'],
    ...rest,
    text_config: { ...config.text_config, projection_dim },
    vision_config: { ...config.vision_config, projection_dim },
    ...own,
  } as ClipConfig;
}

interface TokenizerConfig extends Record<string, unknown> {
  model_max_length?: unknown;
}

/** tokenizer_config.json with the length at which texts are cut: the libraries know it from nowhere else. */
function tokenizerConfig(config: ClipConfig, given: unknown): TokenizerConfig {
  const known = (given ?? {}) as TokenizerConfig;
  const longest = config.text_config.max_position_embeddings;
  const length = Number(known.model_max_length);
  const fits = Number.isInteger(length) && length >= 1 && length <= longest;
  return { ...known, ...(fits ? {} : { model_max_length: longest }) };
}

/** The files of older readers: special_tokens_map.json, and for byte-pair tokenizers vocab.json and merges.txt. */
async function writeTokenizer(folder: string, { tokenizer, tokenizerConfig: config }: TokenizerFiles): Promise<void> {
  const special = Object.fromEntries(
    Object.entries(config as TokenizerConfig).filter(([key]) => /^(?:bos|eos|unk|pad)_token$/.test(key)),
  );
  await writeAtomic(join(folder, 'special_tokens_map.json'), `${JSON.stringify(special, null, 2)}\n`);
  const { model } = tokenizer as { model?: { type?: string; vocab?: object; merges?: unknown[] } };
  if (!model?.merges || !model.vocab || Array.isArray(model.vocab)) return;
  await writeAtomic(join(folder, 'vocab.json'), JSON.stringify(model.vocab));
  const merges = model.merges.map(pair => (Array.isArray(pair) ? pair.join(' ') : String(pair)));
  await writeAtomic(join(folder, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`);
}
