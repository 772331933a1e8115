/** A CLIP as open_clip keeps it: its names, its joined attention weights, and open_clip_config.json. */
import { join } from 'node:path';
import { S3aError } from '../../errors.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { stableStringify } from '../../io/json.ts';
import { writeSafetensors } from '../../io/safetensors.ts';
import { clipParameters } from '../checkpoint/checkpoint.ts';
import { locateOpenClip } from '../checkpoint/formats/open-clip-names.ts';
import { turned } from '../checkpoint/source.ts';
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
  const config = openClipForm(model);
  const tensors = openClipWeights(config, weights, dtype === 'float16' ? 'F16' : 'F32');
  await writeSafetensors(join(folder, 'open_clip_model.safetensors'), tensors);
  const json = { model_cfg: modelJson(config, tokenizer), preprocess_cfg: preprocessJson(preprocess) };
  await writeAtomic(join(folder, 'open_clip_config.json'), `${JSON.stringify(json, null, 2)}\n`);
}

/** The config, when open_clip has a model of its form; throws S3aError EXPORT. */
export function openClipForm(config: ClipConfig): VitClipConfig {
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

/** The weights where `locateOpenClip` finds them. */
function openClipWeights(config: VitClipConfig, weights: Weights, dtype: 'F16' | 'F32') {
  const tensors: Record<string, { dtype: 'F16' | 'F32'; shape: readonly number[]; data: Float32Array }> = {};
  for (const { name: ours, shape } of clipParameters(config)) {
    const { name, rows, transposed } = locateOpenClip(config, '', ours);
    const data = weights[ours];
    if (rows) {
      // Query, key and value.
      tensors[name] ??= { dtype, shape: [3 * shape[0], ...shape.slice(1)], data: new Float32Array(3 * data.length) };
      tensors[name].data.set(data, (rows[0] / shape[0]) * data.length);
    } else if (transposed) tensors[name] = { dtype, shape: shape.toReversed(), data: turned(data, shape[1]) };
    else tensors[name] = { dtype, shape, data };
  }
  return tensors;
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
