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

/**
 * One block: x + attention(norm(x)), then x + mlp(norm(x)), as transformers' CLIPEncoderLayer and
 * SiglipEncoderLayer.
 * @param name `vision_model.encoder.layers.0`
 * @param x [B, T, D]
 * @param mask added to the attention scores, [T, T]
 */
export function encoderLayer(
  config: EncoderConfig,
  params: Parameters,
  name: string,
  x: Tensor,
  mask?: Tensor,
): Tensor {
  const attended = attention(config, params, `${name}.self_attn`, norm(config, params, `${name}.layer_norm1`, x), mask);
  const middle = add(x, attended);
  return add(middle, mlp(config, params, `${name}.mlp`, norm(config, params, `${name}.layer_norm2`, middle)));
}

/** All blocks of a tower; `prefix` is `vision_model` or `text_model`. */
export function encoder(config: EncoderConfig, params: Parameters, prefix: string, x: Tensor, mask?: Tensor): Tensor {
  let hidden = x;
  for (let i = 0; i < config.num_hidden_layers; i++) {
    hidden = encoderLayer(config, params, `${prefix}.encoder.layers.${i}`, hidden, mask);
  }
  return hidden;
}

/**
 * Multi-head self-attention. Three products instead of one over joined weights: joining would copy the weights forward
 * and their gradients backward at every step, and the products are large enough to be as fast apart.
 */
function attention(config: EncoderConfig, params: Parameters, name: string, x: Tensor, mask?: Tensor): Tensor {
  const [batch, tokens, width] = x.shape;
  const heads = config.num_attention_heads;
  const depth = width / heads;
  const project = (part: string, from: Tensor): Tensor =>
    linear(from, params(`${name}.${part}.weight`, [width, width]), params(`${name}.${part}.bias`, [width]));
  const byHead = (part: string): Tensor =>
    transpose(reshape(project(part, x), [batch, tokens, heads, depth]), [0, 2, 1, 3]); // [B, heads, T, depth]
  const scores = matMul(byHead('q_proj'), byHead('k_proj'), { transB: true, alpha: depth ** -0.5 });
  const weights = softmax(mask ? add(scores, mask) : scores); // [B, heads, T, T]
  const mixed = transpose(matMul(weights, byHead('v_proj')), [0, 2, 1, 3]);
  return project('out_proj', reshape(mixed, [batch, tokens, width]));
}

/** Two linear layers with the activation between them; x [..., D]. */
export function mlp(config: EncoderConfig, params: Parameters, name: string, x: Tensor): Tensor {
  const { hidden_size: width, intermediate_size: inner } = config;
  const wide = linear(x, params(`${name}.fc1.weight`, [inner, width]), params(`${name}.fc1.bias`, [inner]));
  const active = ACTIVATIONS[config.hidden_act](wide);
  return linear(active, params(`${name}.fc2.weight`, [width, inner]), params(`${name}.fc2.bias`, [width]));
}
