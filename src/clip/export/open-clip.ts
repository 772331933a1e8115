/** A CLIP as open_clip keeps it: its names, its joined attention weights, and open_clip_config.json. */
import { join } from 'node:path';
import { S3aError } from '../../errors.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { stableStringify } from '../../io/json.ts';
import { type TensorToWrite, writeSafetensors } from '../../io/safetensors.ts';
import type { Preprocess } from '../preprocess.ts';
import { clipTokenizerFiles } from '../tokenizer/clip-vocabulary.ts';
import type { ClipConfig, EncoderConfig, SiglipConfig, VitConfig } from '../towers/config.ts';
import type { Weights } from './graph.ts';

type VitClipConfig = Exclude<ClipConfig, SiglipConfig> & { vision_config: VitConfig };

/**
 * Writes `open_clip_config.json` and `open_clip_model.safetensors`, which open_clip loads as `local-dir:` and `hf-hub:`.
 * @param tokenizer the parsed tokenizer.json
 * @throws S3aError EXPORT for a model that open_clip has no form for, WRITE
 */
export async function writeOpenClip(
  folder: string,
  model: ClipConfig,
  weights: Weights,
  { preprocess, tokenizer, dtype }: { preprocess: Preprocess; tokenizer: unknown; dtype: 'float32' | 'float16' },
): Promise<void> {
  const config = openClipModel(model);
  const type = dtype === 'float16' ? 'F16' : 'F32';
  const tensors: Record<string, TensorToWrite> = {};
  for (const [name, { shape, data }] of Object.entries(openClipWeights(config, weights))) {
    tensors[name] = { dtype: type, shape, data };
  }
  await writeSafetensors(join(folder, 'open_clip_model.safetensors'), tensors);
  const json = { model_cfg: modelJson(config, tokenizer), preprocess_cfg: preprocessJson(preprocess) };
  await writeAtomic(join(folder, 'open_clip_config.json'), `${JSON.stringify(json, null, 2)}\n`);
}

/** The config, when open_clip has a model of its form; throws S3aError EXPORT. */
export function openClipModel(config: ClipConfig): VitClipConfig {
  const refused = (what: string): S3aError =>
    new S3aError('EXPORT', `open_clip has no form for ${what}`, 'Leave --open-clip out.');
  const { vision_config: vision, text_config: text } = config;
  if (config.model_type === 'siglip') throw refused('the weights of a SigLIP in transformers’ layout');
  if (vision.model_type !== 'clip_vision_model') throw refused(`an image tower of the type ${vision.model_type}`);
  if (vision.hidden_act !== text.hidden_act || vision.hidden_act === 'gelu_pytorch_tanh') {
    throw refused(`towers with the activations ${vision.hidden_act} and ${text.hidden_act}`);
  }
  return config as VitClipConfig;
}

interface Matrix {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

function openClipWeights(config: VitClipConfig, weights: Weights): Record<string, Matrix> {
  const { vision_config: vision, text_config: text, projection_dim: width } = config;
  const patch = [vision.hidden_size, 3, vision.patch_size, vision.patch_size];
  const rows = (name: string, columns: number): Matrix => ({
    shape: [weights[name].length / columns, columns],
    data: weights[name],
  });
  const vector = (name: string): Matrix => ({ shape: [weights[name].length], data: weights[name] });
  const norm = (ours: string, theirs: string): Record<string, Matrix> => ({
    [`${theirs}.weight`]: vector(`${ours}.weight`),
    [`${theirs}.bias`]: vector(`${ours}.bias`),
  });
  return {
    'visual.class_embedding': vector('vision_model.embeddings.class_embedding'),
    'visual.conv1.weight': { shape: patch, data: weights['vision_model.embeddings.patch_embedding.weight'] },
    'visual.positional_embedding': rows('vision_model.embeddings.position_embedding.weight', vision.hidden_size),
    ...norm('vision_model.pre_layrnorm', 'visual.ln_pre'),
    ...blocks(vision, weights, 'vision_model', 'visual.transformer'),
    ...norm('vision_model.post_layernorm', 'visual.ln_post'),
    'visual.proj': turned(weights['visual_projection.weight'], width, vision.hidden_size),
    'token_embedding.weight': rows('text_model.embeddings.token_embedding.weight', text.hidden_size),
    positional_embedding: rows('text_model.embeddings.position_embedding.weight', text.hidden_size),
    ...blocks(text, weights, 'text_model', 'transformer'),
    ...norm('text_model.final_layer_norm', 'ln_final'),
    text_projection: turned(weights['text_projection.weight'], width, text.hidden_size),
    logit_scale: { shape: [], data: weights.logit_scale },
  };
}

function blocks(config: EncoderConfig, weights: Weights, ours: string, theirs: string): Record<string, Matrix> {
  const { hidden_size: width, intermediate_size: inner, num_hidden_layers: layers } = config;
  const all: Record<string, Matrix> = {};
  for (let i = 0; i < layers; i++) {
    const [from, to] = [`${ours}.encoder.layers.${i}`, `${theirs}.resblocks.${i}`];
    const joined = (part: string): Float32Array =>
      concat(['q_proj', 'k_proj', 'v_proj'].map(name => weights[`${from}.self_attn.${name}.${part}`]));
    const copy = (name: string, as: string, shape: readonly number[]): void => {
      all[`${to}.${as}`] = { shape, data: weights[`${from}.${name}`] };
    };
    all[`${to}.attn.in_proj_weight`] = { shape: [3 * width, width], data: joined('weight') };
    all[`${to}.attn.in_proj_bias`] = { shape: [3 * width], data: joined('bias') };
    copy('self_attn.out_proj.weight', 'attn.out_proj.weight', [width, width]);
    copy('self_attn.out_proj.bias', 'attn.out_proj.bias', [width]);
    for (const part of ['weight', 'bias']) {
      copy(`layer_norm1.${part}`, `ln_1.${part}`, [width]);
      copy(`layer_norm2.${part}`, `ln_2.${part}`, [width]);
    }
    copy('mlp.fc1.weight', 'mlp.c_fc.weight', [inner, width]);
    copy('mlp.fc1.bias', 'mlp.c_fc.bias', [inner]);
    copy('mlp.fc2.weight', 'mlp.c_proj.weight', [width, inner]);
    copy('mlp.fc2.bias', 'mlp.c_proj.bias', [width]);
  }
  return all;
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function turned(data: Float32Array, rows: number, columns: number): Matrix {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return { shape: [columns, rows], data: out };
}

function modelJson(config: VitClipConfig, tokenizer: unknown): object {
  const { vision_config: vision, text_config: text } = config;
  // OpenAI's tokenizer is open_clip's own; any other is read from the folder by transformers, which pads with what its
  // tokenizer_config.json says.
  const own = stableStringify(modelOf(tokenizer)) === stableStringify(modelOf(clipTokenizerFiles().tokenizer));
  return {
    embed_dim: config.projection_dim,
    quick_gelu: vision.hidden_act === 'quick_gelu',
    vision_cfg: {
      image_size: vision.image_size,
      patch_size: vision.patch_size,
      head_width: vision.hidden_size / vision.num_attention_heads,
      ...stack(vision),
    },
    text_cfg: {
      context_length: text.max_position_embeddings,
      vocab_size: text.vocab_size,
      heads: text.num_attention_heads,
      ...stack(text),
      // By default a text ends at its largest id, which also is the end in the CLIPs whose config names token 2.
      ...([2, text.vocab_size - 1].includes(text.eos_token_id) ? {} : { pool_type: 'eos', eos_id: text.eos_token_id }),
      ...(own ? {} : { hf_tokenizer_name: 'this folder' }),
    },
  };
}

function stack({
  hidden_size: width,
  intermediate_size: inner,
  num_hidden_layers: layers,
  layer_norm_eps,
}: EncoderConfig) {
  // open_clip computes int(width · ratio), which rounds a quotient that is a little too small to the number below.
  const exact = inner / width;
  const mlp_ratio = Math.trunc(width * exact) === inner ? exact : (inner + 0.5) / width;
  return { width, layers, mlp_ratio, ...(layer_norm_eps === 1e-5 ? {} : { norm_kwargs: { eps: layer_norm_eps } }) };
}

function modelOf(tokenizer: unknown): unknown {
  const { vocab, merges } = (tokenizer as { model: { vocab: unknown; merges: unknown } }).model;
  return { vocab, merges: (merges as unknown[]).map(pair => (Array.isArray(pair) ? pair.join(' ') : pair)) };
}

function preprocessJson({ size, mean, std, interpolation = 'bicubic', resize: resize_mode = 'shortest' }: Preprocess) {
  return { size, mean, std, mode: 'RGB', interpolation, resize_mode };
}
