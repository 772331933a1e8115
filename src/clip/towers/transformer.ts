/** The pre-norm transformer block that the towers of CLIP and SigLIP are made of. */
import {
  add,
  gelu,
  layerNorm,
  linear,
  matMul,
  quickGelu,
  reshape,
  softmax,
  type Tensor,
  transpose,
} from '../../engine/index.ts';
import type { EncoderConfig } from './config.ts';
import type { Parameters } from './parameters.ts';

/** By transformers' names. */
const ACTIVATIONS: Record<EncoderConfig['hidden_act'], (x: Tensor) => Tensor> = {
  quick_gelu: x => quickGelu(x),
  gelu: x => gelu(x),
  gelu_pytorch_tanh: x => gelu(x, 'tanh'),
};

/** Layer norm with the weights of a name; x [..., D]. */
export function norm(config: EncoderConfig, params: Parameters, name: string, x: Tensor): Tensor {
  const width = [config.hidden_size];
  return layerNorm(x, params(`${name}.weight`, width), params(`${name}.bias`, width), config.layer_norm_eps);
}

/** The positions of which a block's output is wanted. */
export interface Wanted {
  /** These rows of [B, T, D]: [B, R, D]. */
  rows(hidden: Tensor): Tensor;
  /** Added to their attention scores, broadcastable to [B, heads, R, T]. */
  readonly mask?: Tensor;
}

/**
 * One block: x + attention(norm(x)), then x + mlp(norm(x)), as transformers' CLIPEncoderLayer and
 * SiglipEncoderLayer.
 * @param name `vision_model.encoder.layers.0`
 * @param x [B, T, D]
 * @param mask added to the attention scores, [T, T]
 * @param wanted the positions that are computed, default all: all are looked at, but only these have queries and go on
 */
export function encoderLayer(
  config: EncoderConfig,
  params: Parameters,
  name: string,
  x: Tensor,
  mask?: Tensor,
  wanted: Wanted = { rows: hidden => hidden, mask },
): Tensor {
  const normed = norm(config, params, `${name}.layer_norm1`, x);
  const middle = add(wanted.rows(x), attention(config, params, `${name}.self_attn`, normed, wanted));
  return add(middle, mlp(config, params, `${name}.mlp`, norm(config, params, `${name}.layer_norm2`, middle)));
}

/**
 * All blocks of a tower.
 * @param prefix `vision_model` or `text_model`
 * @param wanted the positions of the last block's output, default all
 */
export function encoder(
  config: EncoderConfig,
  params: Parameters,
  prefix: string,
  x: Tensor,
  mask?: Tensor,
  wanted?: Wanted,
): Tensor {
  let hidden = x;
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const last = i + 1 === config.num_hidden_layers;
    hidden = encoderLayer(config, params, `${prefix}.encoder.layers.${i}`, hidden, mask, last ? wanted : undefined);
  }
  return hidden;
}

/**
 * Multi-head self-attention. Three products instead of one over joined weights: joining would copy the weights forward
 * and their gradients backward at every step, and the products are large enough to be as fast apart.
 */
function attention(config: EncoderConfig, params: Parameters, name: string, x: Tensor, wanted: Wanted): Tensor {
  const [batch, , width] = x.shape;
  const heads = config.num_attention_heads;
  const depth = width / heads;
  const asking = wanted.rows(x); // [B, R, D]
  const project = (part: string, from: Tensor): Tensor =>
    linear(from, params(`${name}.${part}.weight`, [width, width]), params(`${name}.${part}.bias`, [width]));
  const byHead = (part: string, from: Tensor): Tensor =>
    transpose(reshape(project(part, from), [batch, from.shape[1], heads, depth]), [0, 2, 1, 3]); // [B, heads, R|T, depth]
  const scores = matMul(byHead('q_proj', asking), byHead('k_proj', x), { transB: true, alpha: depth ** -0.5 });
  const weights = softmax(wanted.mask ? add(scores, wanted.mask) : scores); // [B, heads, R, T]
  const mixed = transpose(matMul(weights, byHead('v_proj', x)), [0, 2, 1, 3]);
  return project('out_proj', reshape(mixed, asking.shape));
}

/** Two linear layers with the activation between them; x [..., D]. */
export function mlp(config: EncoderConfig, params: Parameters, name: string, x: Tensor): Tensor {
  const { hidden_size: width, intermediate_size: inner } = config;
  const wide = linear(x, params(`${name}.fc1.weight`, [inner, width]), params(`${name}.fc1.bias`, [inner]));
  const active = ACTIVATIONS[config.hidden_act](wide);
  return linear(active, params(`${name}.fc2.weight`, [width, inner]), params(`${name}.fc2.bias`, [width]));
}
