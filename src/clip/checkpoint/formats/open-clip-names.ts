/** open_clip's names of the weights of a plain CLIP, which are OpenAI's. */
import { S3aError } from '../../../errors.ts';
import type { ClipConfig } from '../../towers/config.ts';
import type { WeightSource } from '../source.ts';

/** Tensors that are no weights: the causal mask, OpenAI's three sizes, and the bias of all logits. */
const EXTRAS = /^(?:(?:.+\.)?attn_mask|input_resolution|context_length|vocab_size|logit_bias)$/;

const PARTS: Readonly<Record<string, string>> = {
  layer_norm1: 'ln_1',
  layer_norm2: 'ln_2',
  'self_attn.out_proj': 'attn.out_proj',
  'mlp.fc1': 'mlp.c_fc',
  'mlp.fc2': 'mlp.c_proj',
};

/** Whether a tensor of a checkpoint of open_clip or OpenAI is no weight of the towers. */
export function isOpenClipExtra(name: string): boolean {
  return EXTRAS.test(name);
}

/**
 * Where open_clip keeps a weight: query, key and value are joined, and the projections stand as [in, out].
 * @param prefix of the text tower's names: '' or, in a CustomTextCLIP, 'text.'
 */
export function locateOpenClip(config: ClipConfig, prefix: string, name: string): WeightSource {
  if (name === 'logit_scale') return { name, squeezed: true };
  if (name === 'visual_projection.weight') return { name: 'visual.proj', transposed: true };
  if (name === 'text_projection.weight') return { name: `${prefix}text_projection`, transposed: true };
  const [, tower, rest] = /^(vision|text)_model\.(.+)$/.exec(name) ?? [];
  const own = tower === 'vision' ? 'visual.' : prefix;
  const block = /^encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(rest ?? '');
  if (block) {
    const [, layer, part, kind] = block;
    const at = `${own}transformer.resblocks.${layer}.`;
    const third = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'].indexOf(part);
    if (third < 0) return { name: `${at}${PARTS[part]}.${kind}` };
    const width = tower === 'vision' ? visionWidth(config) : config.text_config.hidden_size;
    return { name: `${at}attn.in_proj_${kind}`, rows: [third * width, (third + 1) * width] };
  }
  const plain: Readonly<Record<string, string>> = {
    'vision_model.embeddings.class_embedding': 'class_embedding',
    'vision_model.embeddings.patch_embedding.weight': 'conv1.weight',
    'vision_model.embeddings.position_embedding.weight': 'positional_embedding',
    'vision_model.pre_layrnorm.weight': 'ln_pre.weight',
    'vision_model.pre_layrnorm.bias': 'ln_pre.bias',
    'vision_model.post_layernorm.weight': 'ln_post.weight',
    'vision_model.post_layernorm.bias': 'ln_post.bias',
    'text_model.embeddings.token_embedding.weight': 'token_embedding.weight',
    'text_model.embeddings.position_embedding.weight': 'positional_embedding',
    'text_model.final_layer_norm.weight': 'ln_final.weight',
    'text_model.final_layer_norm.bias': 'ln_final.bias',
  };
  if (!Object.hasOwn(plain, name)) throw new S3aError('WEIGHTS', `open_clip has no place for the weight ${name}`);
  return { name: own + plain[name] };
}

function visionWidth({ vision_config: vision }: ClipConfig): number {
  return vision.model_type === 's3a_resnet' ? 0 : vision.hidden_size;
}
