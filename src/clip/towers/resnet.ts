/**
 * A small residual image tower in the form of CLIP's ModifiedResNet: a stem of three convolutions, average pools instead
 * of strides, and attention pooling (github.com/openai/CLIP, model.py). Every convolution but the first has stride 1.
 */
import {
  add,
  avgPool2d,
  concat,
  input,
  linear,
  matMul,
  mean,
  relu,
  reshape,
  slice,
  softmax,
  type Tensor,
  transpose,
} from '../../engine/index.ts';
import { convNorm, type NormContext, type NormMode } from './batch-norm.ts';
import { type ResnetConfig, resnetWidth } from './config.ts';
import { type Parameter, type Parameters, recordParameters } from './parameters.ts';

/**
 * Image embeddings, not normalised.
 *
 * In `train` mode each convolution is followed by batch norm with the statistics of the batch, which are returned for
 * running averages; in `folded` mode each has a bias and the tower depends on each image alone.
 * @param pixels [B, 3, S, S]
 * @param dimension D
 * @returns embedding [B, D], and statistics `….norm.running_mean|var` (empty when folded)
 */
export function resnetTower(
  config: ResnetConfig,
  dimension: number,
  params: Parameters,
  pixels: Tensor,
  mode: NormMode,
): { embedding: Tensor; statistics: Record<string, Tensor> } {
  const context: NormContext = { params, mode, epsilon: config.batch_norm_eps, statistics: {} };
  const x = resnetFeatures(config, context, pixels);
  return { embedding: resnetEmbedding(config, dimension, params, x), statistics: context.statistics };
}

/**
 * The features of all positions after the last stage, [B, C, S/R, S/R], R being `resnetStride`.
 * @param pixels [B, 3, S, S]
 */
export function resnetFeatures(config: ResnetConfig, context: NormContext, pixels: Tensor): Tensor {
  let x = stem(config, context, pixels);
  config.widths.forEach((width, stage) => {
    for (let i = 0; i < config.blocks[stage]; i++) {
      const name = `vision_model.stages.${stage}.${i}`;
      const halve = stage > 0 && i === 0;
      x = config.block === 'basic' ? basic(context, name, x, width, halve) : bottleneck(context, name, x, width, halve);
    }
  });
  return x;
}

/** Features of all positions, [B, C, H, W], as image embeddings [B, D]. */
export function resnetEmbedding(config: ResnetConfig, dimension: number, params: Parameters, x: Tensor): Tensor {
  const pooled = config.pool === 'mean' ? mean(x, { axes: [2, 3] }) : attentionPool(config, params, x); // [B, C]
  return linear(pooled, params('visual_projection.weight', [dimension, resnetWidth(config)]));
}

/** Pixels from one position of the last stage to the next: the stem halves once or twice, and so does each later stage. */
export function resnetStride({ stem_pool, widths }: ResnetConfig): number {
  return 2 ** (widths.length + (stem_pool ? 1 : 0));
}

/** The weights of a residual tower: with batch norms in `train` mode, with biases instead when folded. */
export function resnetParameters(config: ResnetConfig, dimension: number, mode: NormMode): Parameter[] {
  const pixels = input('pixels', 'float32', [1, 3, config.image_size, config.image_size]);
  return recordParameters(params => resnetTower(config, dimension, params, pixels, mode));
}

/** Three convolutions; unlike CLIP's, the pool comes before the widest of them, which then costs a quarter. */
function stem(config: ResnetConfig, context: NormContext, pixels: Tensor): Tensor {
  const half = config.stem_width / 2;
  const first = relu(convNorm(context, 'vision_model.stem.0', pixels, { out: half, kernel: 3, stride: 2 }));
  const second = relu(convNorm(context, 'vision_model.stem.1', first, { out: half, kernel: 3 }));
  const small = config.stem_pool ? avgPool2d(second, 2) : second;
  return relu(convNorm(context, 'vision_model.stem.2', small, { out: config.stem_width, kernel: 3 }));
}

/** Two 3×3 convolutions; the image is halved before both, so that they and the shortcut read the same small one. */
function basic(context: NormContext, name: string, x: Tensor, width: number, halve: boolean): Tensor {
  const from = halve ? avgPool2d(x, 2) : x;
  const inner = relu(convNorm(context, `${name}.conv1`, from, { out: width, kernel: 3 }));
  const outer = convNorm(context, `${name}.conv2`, inner, { out: width, kernel: 3 });
  return relu(add(outer, shortcut(context, name, from, width)));
}

/** 1×1, 3×3, pool, 1×1 to four times the width, as in CLIP. */
function bottleneck(context: NormContext, name: string, x: Tensor, width: number, halve: boolean): Tensor {
  const narrow = relu(convNorm(context, `${name}.conv1`, x, { out: width, kernel: 1 }));
  const inner = relu(convNorm(context, `${name}.conv2`, narrow, { out: width, kernel: 3 }));
  const outer = convNorm(context, `${name}.conv3`, halve ? avgPool2d(inner, 2) : inner, { out: 4 * width, kernel: 1 });
  return relu(add(outer, shortcut(context, name, halve ? avgPool2d(x, 2) : x, 4 * width)));
}

function shortcut(context: NormContext, name: string, x: Tensor, out: number): Tensor {
  return x.shape[1] === out ? x : convNorm(context, `${name}.downsample`, x, { out, kernel: 1 });
}

/**
 * One multi-head query, the mean of all positions, over the mean and all positions: CLIP's AttentionPool2d up to its
 * output projection, which is the tower's.
 *
 * There is one query an image, so no position needs a key or a value of its own: a query meets the positions through the keys'
 * weight, q·(K·x + b) = (q·K)·x + q·b, and their mean goes through the values' weight. That is a tenth of the products.
 */
function attentionPool(config: ResnetConfig, params: Parameters, x: Tensor): Tensor {
  const [batch, width, height, breadth] = x.shape;
  const heads = config.num_attention_heads;
  const size = width / heads;
  const tokens = height * breadth + 1;
  const name = 'vision_model.attnpool';
  const weight = (part: string): Tensor => params(`${name}.${part}.weight`, [width, width]);
  const bias = (part: string): Tensor => params(`${name}.${part}.bias`, [width]);
  const flat = reshape(x, [batch, width, height * breadth]);
  const average = reshape(mean(flat, { axes: [2] }), [batch, 1, width]);
  const withMean = concat([average, transpose(flat, [0, 2, 1])], 1); // [B, T, C]
  const all = add(withMean, params(`${name}.positional_embedding`, [tokens, width]));
  const first = reshape(slice(all, 1, 0, 1), [batch, width]);
  const split = (t: Tensor): Tensor => transpose(reshape(t, [batch, heads, size]), [1, 0, 2]); // [heads, B, C/heads]
  const q = split(linear(first, weight('q_proj'), bias('q_proj')));
  const alpha = size ** -0.5;
  const toAll = matMul(q, reshape(weight('k_proj'), [heads, size, width]), { alpha }); // [heads, B, C]
  const toBias = matMul(q, reshape(bias('k_proj'), [heads, size, 1]), { alpha }); // [heads, B, 1]
  const perImage = (t: Tensor): Tensor => transpose(t, [1, 0, 2]);
  const scores = add(matMul(perImage(toAll), all, { transB: true }), perImage(toBias)); // [B, heads, T]
  const attention = softmax(scores);
  const seen = transpose(matMul(attention, all), [1, 0, 2]); // [heads, B, C]
  const values = matMul(seen, reshape(weight('v_proj'), [heads, size, width]), { transB: true }); // [heads, B, C/heads]
  return add(reshape(perImage(values), [batch, width]), bias('v_proj'));
}
