/** CLIP's image towers with masked patches: the embedding of the image, and a feature and an embedding of every patch. */

import type { NormContext } from '../../clip/towers/batch-norm.ts';
import { type ClipConfig, type ResnetConfig, resnetWidth, type VitConfig } from '../../clip/towers/config.ts';
import type { Parameter, Parameters } from '../../clip/towers/parameters.ts';
import { resnetEmbedding, resnetFeatures } from '../../clip/towers/resnet.ts';
import { encoder, norm } from '../../clip/towers/transformer.ts';
import { visionEmbeddings } from '../../clip/towers/vision.ts';
import {
  add,
  l2Normalize,
  layerNorm,
  linear,
  mul,
  reshape,
  sizeOf,
  slice,
  sub,
  type Tensor,
  transpose,
} from '../../engine/index.ts';
import { random } from '../../random.ts';
import { fromPatches, patchSize, toPatches } from './patches.ts';

/** What the student makes of an image of which it does not see everything; L patches of P × P pixels. */
export interface Masked {
  /** [B, D] unit embedding of the image. */
  image: Tensor;
  /** [B, L, D] unit embeddings of the patches in the space of the image's. */
  patches: Tensor;
  /** [B, L, 3·P²] pixels that the decoder predicts, in the order of `toPatches`. */
  pixels: Tensor;
}

/**
 * The student's pass (salesforce/MUST, clip/model.py, VisionTransformer_MIM).
 *
 * In a vision transformer a learnt token stands in for the embedding of a masked patch, before positions are added. Features
 * of patches pass a layer norm of their own; the decoder is linear and shared by all patches, and a patch's embedding is
 * its normed feature through the projection of the class token.
 *
 * A residual tower, which the published method does not treat, has no embedding of patches: there the learnt token stands in
 * for the pixels of a masked square of the tower's stride, the features are those of the last stage's positions, and
 * the embedding of a position is its value in the attention pool through the projection (as in MaskCLIP, Zhou et al. 2022,
 * arXiv 2112.01071).
 * @param pixels [B, 3, S, S]
 * @param mask [B, L], 1 where the patch is not seen
 */
export function maskedTower(config: ClipConfig, params: Parameters, pixels: Tensor, mask: Tensor): Masked {
  const { vision_config: vision, projection_dim: dimension } = config;
  const [batch, patches] = mask.shape;
  const replaced = (x: Tensor): Tensor => {
    const hidden = reshape(mask, [batch, patches, 1]);
    const token = params('must.embeddings.mask_token', [1, x.shape[2]]);
    return add(mul(x, sub(1, hidden)), mul(token, hidden));
  };
  const seen =
    vision.model_type === 's3a_resnet'
      ? residual(vision, dimension, params, pixels, replaced, patchSize(config))
      : transformer(vision as VitConfig, dimension, params, pixels, replaced);
  const [outputs, width] = decoderShape(config);
  const [weight, bias] = [params('must.decoder.weight', [outputs, width]), params('must.decoder.bias', [outputs])];
  return {
    image: l2Normalize(seen.image),
    patches: l2Normalize(seen.patches),
    pixels: linear(seen.features, weight, bias),
  };
}

interface Seen {
  image: Tensor;
  patches: Tensor;
  features: Tensor;
}

function transformer(
  config: VitConfig,
  dimension: number,
  params: Parameters,
  pixels: Tensor,
  replaced: (x: Tensor) => Tensor,
): Seen {
  const width = config.hidden_size;
  const hidden = encoder(config, params, 'vision_model', visionEmbeddings(config, params, pixels, replaced));
  const projection = params('visual_projection.weight', [dimension, width]);
  const token = reshape(slice(hidden, 1, 0, 1), [pixels.shape[0], width]);
  const [scale, shift] = ['weight', 'bias'].map(part => params(`must.patch_norm.${part}`, [width]));
  const features = layerNorm(slice(hidden, 1, 1), scale, shift, config.layer_norm_eps);
  return {
    image: linear(norm(config, params, 'vision_model.post_layernorm', token), projection),
    patches: linear(features, projection),
    features,
  };
}

function residual(
  config: ResnetConfig,
  dimension: number,
  params: Parameters,
  pixels: Tensor,
  replaced: (x: Tensor) => Tensor,
  patch: number,
): Seen {
  const context: NormContext = { params, mode: 'folded', epsilon: config.batch_norm_eps, statistics: {} };
  const x = resnetFeatures(config, context, fromPatches(replaced(toPatches(pixels, patch)), patch)); // [B, C, H, W]
  const [batch, width, height, breadth] = x.shape;
  const features = transpose(reshape(x, [batch, width, height * breadth]), [0, 2, 1]); // [B, L, C]
  const projection = params('visual_projection.weight', [dimension, width]);
  return {
    image: resnetEmbedding(config, dimension, params, x),
    patches: linear(config.pool === 'mean' ? features : poolValues(params, features), projection),
    features,
  };
}

/** What each position [B, L, C] brings to CLIP's attention pool. */
function poolValues(params: Parameters, features: Tensor): Tensor {
  const [, positions, width] = features.shape;
  const name = 'vision_model.attnpool';
  // The first row is that of the mean of all positions.
  const table = slice(params(`${name}.positional_embedding`, [positions + 1, width]), 0, 1);
  return linear(
    add(features, table),
    params(`${name}.v_proj.weight`, [width, width]),
    params(`${name}.v_proj.bias`, [width]),
  );
}

/**
 * The weights that training adds to the tower; `must.embeddings.mask_token` counts as an embedding for layer-wise decay, the
 * others as what comes after the last block.
 */
export function maskedParameters(config: ClipConfig): Parameter[] {
  const { vision_config: vision } = config;
  const [outputs, width] = decoderShape(config);
  const normed = vision.model_type === 'clip_vision_model' ? ['weight', 'bias'] : [];
  return [
    { name: 'must.embeddings.mask_token', shape: [1, vision.model_type === 's3a_resnet' ? outputs : width] },
    ...normed.map(part => ({ name: `must.patch_norm.${part}`, shape: [width] })),
    { name: 'must.decoder.weight', shape: [outputs, width] },
    { name: 'must.decoder.bias', shape: [outputs] },
  ];
}

/** Starting values as in the published code: the token normal with deviation 0.02, PyTorch's defaults for the rest. */
export function startMasked(config: ClipConfig, seed: number): Record<string, Float32Array> {
  const bound = decoderShape(config)[1] ** -0.5;
  return Object.fromEntries(
    maskedParameters(config).map(({ name, shape }) => {
      const draw = random(seed, 'must', name);
      const values = new Float32Array(sizeOf(shape));
      if (name === 'must.patch_norm.weight') return [name, values.fill(1)];
      if (name === 'must.patch_norm.bias') return [name, values];
      const next = name.startsWith('must.decoder') ? () => draw.uniform(-bound, bound) : () => 0.02 * draw.normal();
      return [name, values.map(next)];
    }),
  );
}

/** Pixels of a patch, and the width of a patch's feature. */
function decoderShape(config: ClipConfig): [number, number] {
  const { vision_config: vision } = config;
  const width = vision.model_type === 's3a_resnet' ? resnetWidth(vision) : vision.hidden_size;
  return [3 * patchSize(config) ** 2, width];
}
