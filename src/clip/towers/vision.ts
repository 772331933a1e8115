/** The image towers: CLIP's vision transformer, SigLIP's, and the residual tower in its folded form. */
import { add, concat, input, linear, pad, patchEmbed, reshape, slice, type Tensor } from '../../engine/index.ts';
import type { ClipConfig, VitConfig } from './config.ts';
import { type Parameter, type Parameters, recordParameters } from './parameters.ts';
import { resnetTower } from './resnet.ts';
import { siglipVisionTower } from './siglip.ts';
import { encoder, norm } from './transformer.ts';

/**
 * Image embeddings after the projection, not normalised (transformers' `get_image_features`).
 * @param pixels [B, 3, S, S], normalised by the preprocessor's mean and deviation
 * @param choose which of the tokens [B, T, W] enter the first block of a transformer; default all
 * @returns [B, D]
 */
export function visionTower(
  config: ClipConfig,
  params: Parameters,
  pixels: Tensor,
  choose = (tokens: Tensor): Tensor => tokens,
): Tensor {
  const { vision_config: vision, projection_dim: dimension } = config;
  if (vision.model_type === 's3a_resnet') {
    return resnetTower(vision, dimension, params, pixels, 'folded').embedding;
  }
  if (vision.model_type === 'siglip_vision_model') return siglipVisionTower(vision, params, pixels, choose);
  const batch = pixels.shape[0];
  const tokens = choose(visionEmbeddings(vision, params, pixels));
  // Of the last block nothing but the class token is wanted, and the norm works row by row.
  const classToken = { rows: (hidden: Tensor) => slice(hidden, 1, 0, 1) };
  const hidden = encoder(vision, params, 'vision_model', tokens, undefined, classToken); // [B, 1, W]
  const pooled = reshape(hidden, [batch, vision.hidden_size]);
  const normed = norm(vision, params, 'vision_model.post_layernorm', pooled);
  return linear(normed, params('visual_projection.weight', [dimension, vision.hidden_size]));
}

/**
 * What enters the first block of CLIP's transformer: class token and patches with their positions, normalised.
 * @param pixels [B, 3, S, S]
 * @param change what becomes of the embedded patches, [B, (S/P)², W], before they get their positions; default nothing
 * @returns [B, 1 + (S/P)², W]
 */
export function visionEmbeddings(
  config: VitConfig,
  params: Parameters,
  pixels: Tensor,
  change = (patches: Tensor): Tensor => patches,
): Tensor {
  const { hidden_size: width, patch_size: patch, image_size: size } = config;
  const name = 'vision_model.embeddings';
  const tokens = (size / patch) ** 2 + 1;
  const patches = change(patchEmbed(pixels, params(`${name}.patch_embedding.weight`, [width, 3, patch, patch])));
  const token = reshape(params(`${name}.class_embedding`, [width]), [1, width]);
  const positions = params(`${name}.position_embedding.weight`, [tokens, width]);
  // The class token is the same for every image, so it comes in with the positions, over a row of zeros.
  const table = concat([add(token, slice(positions, 0, 0, 1)), slice(positions, 0, 1)], 0); // [T, W]
  const positioned = add(pad(patches, [0, 1, 0, 0, 0, 0]), table);
  return norm(config, params, 'vision_model.pre_layrnorm', positioned);
}

/** The weights of the image tower as a saved model has them, by transformers' names. */
export function visionParameters(config: ClipConfig): Parameter[] {
  const size = config.vision_config.image_size;
  return recordParameters(params => visionTower(config, params, input('pixels', 'float32', [1, 3, size, size])));
}
