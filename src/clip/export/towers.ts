/** The towers as graphs of any batch size, and, for CLIP's texts, any length; named as transformers.js expects them. */
import {
  add,
  argMax,
  cast,
  constant,
  equal,
  exp,
  type FreeExtent,
  input,
  l2Normalize,
  linear,
  matMul,
  minimum,
  mul,
  program,
  reshape,
  scalar,
  slice,
  state,
  type Tensor,
  transpose,
  where,
} from '../../engine/index.ts';
import { S3aError } from '../../errors.ts';
import type { ClipConfig, SiglipConfig } from '../towers/config.ts';
import type { Parameters } from '../towers/parameters.ts';
import { siglipTextTower } from '../towers/siglip.ts';
import { causalMask, textEmbeddings, textParameters } from '../towers/text.ts';
import { encoder, norm } from '../towers/transformer.ts';
import { visionTower } from '../towers/vision.ts';
import { type Graph, graphOf, joined, type Weights } from './graph.ts';

type TextConfig = Exclude<ClipConfig, SiglipConfig>;

// Primes, of which no other extent is a multiple: wherever they stand is a batch.
const IMAGES: FreeExtent = { extent: 1_000_003, name: 'image_batch_size' };
const TEXTS: FreeExtent = { extent: 999_983, name: 'text_batch_size' };
const LOWEST = -3.4028234663852886e38;

const stored: Parameters = (name, shape) => state(name, shape);

/**
 * `pixel_values` [N, 3, S, S] → `image_embeds` [N, D] (SigLIP: `pooler_output`), not normalised.
 * @throws S3aError WEIGHTS
 */
export function visionGraph(config: ClipConfig, weights: Weights): Graph {
  const size = config.vision_config.image_size;
  const embedding = visionTower(config, stored, input('pixel_values', 'float32', [IMAGES.extent, 3, size, size]));
  const output = config.model_type === 'siglip' ? 'pooler_output' : 'image_embeds';
  return graphOf(program({ [output]: embedding }), weights, [IMAGES]);
}

/**
 * `input_ids` and `attention_mask`, int64 [M, T] → `text_embeds` [M, D], not normalised. SigLIP has no mask, a fixed T, and
 * `pooler_output`.
 * @throws S3aError WEIGHTS
 */
export function textGraph(config: ClipConfig, weights: Weights): Graph {
  if (config.model_type === 'siglip') {
    const ids = input('input_ids', 'int64', [TEXTS.extent, config.text_config.max_position_embeddings]);
    return graphOf(program({ pooler_output: siglipTextTower(config, stored, ids) }), weights, [TEXTS]);
  }
  const length = { extent: freeLength(config), name: 'sequence_length' };
  const shape = [TEXTS.extent, length.extent];
  const ids = input('input_ids', 'int64', shape);
  const text_embeds = textTower(config, ids, input('attention_mask', 'int64', shape));
  return graphOf(program({ text_embeds }), weights, [TEXTS, length]);
}

/** CLIP's text tower with its end-of-text tokens found inside, as transformers exports it. */
function textTower(config: TextConfig, ids: Tensor, attended: Tensor): Tensor {
  const { text_config: text, projection_dim: dimension } = config;
  const [batch, tokens] = ids.shape;
  const most = text.max_position_embeddings;
  const causal = slice(slice(causalMask(most), 0, 0, tokens), 1, 0, tokens); // [T, T]
  const unattended = where(equal(cast(attended, 'int32'), 0), scalar(LOWEST), scalar(0));
  const mask = minimum(causal, reshape(unattended, [batch, 1, 1, tokens])); // [M, 1, T, T]
  const hidden = encoder(text, stored, 'text_model', textEmbeddings(text, stored, ids), mask);
  const pooled = reshape(matMul(endRows(text.eos_token_id, ids, most), hidden), [batch, text.hidden_size]);
  const normed = norm(text, stored, 'text_model.final_layer_norm', pooled);
  return linear(normed, stored('text_projection.weight', [dimension, text.hidden_size]));
}

/** 1 at the end of each text, as `endPositions` finds it, and 0 elsewhere: [M, 1, T]. */
function endRows(endToken: number, ids: Tensor, most: number): Tensor {
  const [batch, tokens] = ids.shape;
  const short = cast(ids, 'int32');
  const ends = argMax(endToken === 2 ? short : cast(equal(short, endToken), 'int32'), 1); // [M]
  const places = constant(
    Int32Array.from({ length: most }, (_, i) => i),
    [most],
  );
  const isEnd = equal(reshape(slice(places, 0, 0, tokens), [1, tokens]), reshape(ends, [batch, 1]));
  return reshape(cast(isEnd, 'float32'), [batch, 1, tokens]);
}

/** A length to trace texts with: shorter than the longest, and no divisor of any extent. */
function freeLength(config: TextConfig): number {
  const { hidden_size: width, num_attention_heads: heads, max_position_embeddings: most } = config.text_config;
  const extents = [...textParameters(config).flatMap(({ shape }) => shape), heads, width / heads];
  for (let length = most - 1; length > 1; length--) if (extents.every(n => n % length !== 0)) return length;
  throw new S3aError('MODEL_CONFIG', `texts of at most ${most} tokens cannot be exported`);
}

/** Logits of all images and texts, and the unit embeddings, from the embeddings of the towers: the end of CLIPModel. */
function headGraph(config: ClipConfig, weights: Weights): Graph {
  const dimension = config.projection_dim;
  const image_embeds = l2Normalize(input('vision', 'float32', [IMAGES.extent, dimension]));
  const text_embeds = l2Normalize(input('text', 'float32', [TEXTS.extent, dimension]));
  const siglip = config.model_type === 'siglip';
  const scale = exp(reshape(state('logit_scale', siglip ? [1] : []), []));
  const scaled = mul(matMul(text_embeds, image_embeds, { transB: true }), scale);
  const logits_per_text = siglip ? add(scaled, reshape(state('logit_bias', [1]), [])) : scaled;
  const logits_per_image = transpose(logits_per_text);
  const outputs = { logits_per_image, logits_per_text, text_embeds, image_embeds };
  return graphOf(program(outputs), weights, [IMAGES, TEXTS]);
}

/**
 * Both towers as one model with the outputs of transformers' CLIPModel: `logits_per_image`, `logits_per_text`,
 * `text_embeds` and `image_embeds`, the latter two of unit length.
 * @param vision the image tower, in whatever precision; its inputs and outputs are float32
 * @param text the text tower
 * @throws S3aError WEIGHTS
 */
export function jointGraph(config: ClipConfig, weights: Weights, vision: Graph, text: Graph): Graph {
  return joined({ vision, text }, headGraph(config, weights));
}
