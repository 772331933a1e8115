/** SigLIP's towers: a vision transformer pooled by attention, and a text transformer that reads its last position. */
import {
  add,
  gather,
  linear,
  matMul,
  patchEmbed,
  reshape,
  slice,
  softmax,
  type Tensor,
  transpose,
} from '../../engine/index.ts';
import type { SiglipConfig, SiglipTextConfig, SiglipVisionConfig } from './config.ts';
import type { Parameters } from './parameters.ts';
import { encoder, mlp, norm } from './transformer.ts';

/**
 * Image embeddings, not normalised (transformers' SiglipModel `get_image_features`).
 * @param pixels [B, 3, S, S]
 * @param choose which of the tokens [B, T, W] enter the first block; default all
 * @returns [B, W]
 */
export function siglipVisionTower(
  config: SiglipVisionConfig,
  params: Parameters,
  pixels: Tensor,
  choose = (tokens: Tensor): Tensor => tokens,
): Tensor {
  const tokens = choose(siglipPatches(config, params, pixels));
  const hidden = encoder(config, params, 'vision_model', tokens); // [B, T, W]
  return poolingHead(config, params, norm(config, params, 'vision_model.post_layernorm', hidden));
}

/**
 * What enters the first block: patches with their positions. There is no class token.
 * @param pixels [B, 3, S, S]
 * @returns [B, ⌊S/P⌋², W]
 */
export function siglipPatches(config: SiglipVisionConfig, params: Parameters, pixels: Tensor): Tensor {
  const { hidden_size: width, patch_size: patch, image_size: size } = config;
  const name = 'vision_model.embeddings';
  const grid = Math.floor(size / patch);
  // Some sizes are not a whole number of patches (so400m: 384 of 14); what is left over at the right and below is unseen.
  const used = grid * patch;
  const seen = used === size ? pixels : slice(slice(pixels, 2, 0, used), 3, 0, used);
  const patches = patchEmbed(
    seen,
    params(`${name}.patch_embedding.weight`, [width, 3, patch, patch]),
    params(`${name}.patch_embedding.bias`, [width]),
  );
  return add(patches, params(`${name}.position_embedding.weight`, [grid ** 2, width]));
}

/**
 * Attention pooling: one learnt query, the probe, over all positions, then a block's second half
 * (transformers' SiglipMultiheadAttentionPoolingHead).
 * @param x [B, T, W]
 * @returns [B, W]
 */
function poolingHead(config: SiglipVisionConfig, params: Parameters, x: Tensor): Tensor {
  const [batch, tokens, width] = x.shape;
  const heads = config.num_attention_heads;
  const depth = width / heads;
  const name = 'vision_model.head';
  // The joined projections of torch.nn.MultiheadAttention: query, key, value, one below the other.
  const weight = params(`${name}.attention.in_proj_weight`, [3 * width, width]);
  const bias = params(`${name}.attention.in_proj_bias`, [3 * width]);
  const project = (part: number, from: Tensor): Tensor =>
    linear(from, slice(weight, 0, part * width, (part + 1) * width), slice(bias, 0, part * width, (part + 1) * width));
  const byHead = (part: number): Tensor =>
    transpose(reshape(project(part, x), [batch, tokens, heads, depth]), [0, 2, 1, 3]); // [B, heads, T, depth]
  // The query is the same for every image.
  const query = reshape(project(0, reshape(params(`${name}.probe`, [1, 1, width]), [1, width])), [1, heads, 1, depth]);
  const weights = softmax(matMul(query, byHead(1), { transB: true, alpha: depth ** -0.5 })); // [B, heads, 1, T]
  const mixed = reshape(matMul(weights, byHead(2)), [batch, width]);
  const outer = `${name}.attention.out_proj`;
  const pooled = linear(mixed, params(`${outer}.weight`, [width, width]), params(`${outer}.bias`, [width]));
  return add(pooled, mlp(config, params, `${name}.mlp`, norm(config, params, `${name}.layernorm`, pooled)));
}

/**
 * Text embeddings, not normalised (transformers' SiglipModel `get_text_features`).
 *
 * No mask: every position sees every other, padding included, so texts must have the length that the model was trained with.
 * @param ids int32 [B, T], T being `max_position_embeddings`
 * @returns [B, D]
 */
export function siglipTextTower(config: SiglipConfig, params: Parameters, ids: Tensor): Tensor {
  const { text_config: text, projection_dim: dimension } = config;
  const [batch, tokens] = ids.shape;
  // Of the last block nothing but the last position is wanted, and the norm works row by row.
  const end = { rows: (hidden: Tensor) => slice(hidden, 1, tokens - 1) };
  const hidden = encoder(text, params, 'text_model', siglipTokens(text, params, ids), undefined, end);
  const last = reshape(hidden, [batch, text.hidden_size]);
  const normed = norm(text, params, 'text_model.final_layer_norm', last);
  const weight = params('text_model.head.weight', [dimension, text.hidden_size]);
  return linear(normed, weight, params('text_model.head.bias', [dimension]));
}

/** Token and position embeddings: ids int32 [B, T] → [B, T, W]. */
export function siglipTokens(config: SiglipTextConfig, params: Parameters, ids: Tensor): Tensor {
  const { hidden_size: width, vocab_size: words, max_position_embeddings: positions } = config;
  const name = 'text_model.embeddings';
  const embedded = gather(params(`${name}.token_embedding.weight`, [words, width]), ids);
  return add(embedded, slice(params(`${name}.position_embedding.weight`, [positions, width]), 0, 0, ids.shape[1]));
}
