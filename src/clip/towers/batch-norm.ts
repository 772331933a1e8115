/** Batch normalisation after a convolution: with batch statistics while training, folded into the convolution after. */
import { add, batchNorm, conv2d, mul, type Tensor } from '../../engine/index.ts';
import type { Parameters } from './parameters.ts';

/** `train` normalises by the batch; `folded` has convolutions with a bias and no normalisation. */
export type NormMode = 'train' | 'folded';

/** What a convolution with its normalisation needs besides its input. */
export interface NormContext {
  readonly params: Parameters;
  readonly mode: NormMode;
  readonly epsilon: number;
  /** Batch means and unbiased variances, filled while tracing in `train` mode, keyed `….norm.running_mean|var`. */
  readonly statistics: Record<string, Tensor>;
}

export interface ConvShape {
  readonly out: number;
  readonly kernel: 1 | 3;
  readonly stride?: number;
}

/**
 * Convolution (padded to keep the size) and its batch norm.
 * @param x [N, C, H, W]
 * @returns [N, out, H/stride, W/stride]
 */
export function convNorm(
  context: NormContext,
  name: string,
  x: Tensor,
  { out, kernel, stride = 1 }: ConvShape,
): Tensor {
  const { params, mode, epsilon, statistics } = context;
  const window = { stride, padding: kernel === 3 ? 1 : 0 };
  const weight = params(`${name}.weight`, [out, x.shape[1], kernel, kernel]);
  if (mode === 'folded') return conv2d(x, weight, params(`${name}.bias`, [out]), window);
  const y = conv2d(x, weight, undefined, window);
  const { output, mean, variance } = batchNorm(
    y,
    params(`${name}.norm.weight`, [out]),
    params(`${name}.norm.bias`, [out]),
    epsilon,
  );
  const count = y.shape[0] * y.shape[2] * y.shape[3];
  statistics[`${name}.norm.running_mean`] = mean;
  statistics[`${name}.norm.running_var`] = mul(variance, count / Math.max(count - 1, 1));
  return output;
}

/**
 * Running averages after a step, as program outputs that replace the states they are named after.
 * @param statistics of the step, as a tower in `train` mode returns them
 * @param running gives the running average of a name
 * @param momentum share of the new batch; PyTorch's default is 0.1
 */
export function runningAverages(
  statistics: Record<string, Tensor>,
  running: Parameters,
  momentum = 0.1,
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(statistics).map(([name, batch]) => [
      name,
      add(mul(running(name, batch.shape), 1 - momentum), mul(batch, momentum)),
    ]),
  );
}

/**
 * Weights in which every batch norm is part of its convolution: w·γ/√(σ²+ε) and β − μ·γ/√(σ²+ε).
 * @param weights with `….weight`, `….norm.weight|bias` and `….norm.running_mean|var`; others are kept as they are
 */
export function foldBatchNorm(weights: Record<string, Float32Array>, epsilon = 1e-5): Record<string, Float32Array> {
  const folded: Record<string, Float32Array> = {};
  for (const [name, data] of Object.entries(weights)) {
    if (!name.includes('.norm.')) folded[name] = data;
  }
  for (const [name, gamma] of Object.entries(weights)) {
    if (!name.endsWith('.norm.weight')) continue;
    const layer = name.slice(0, -'.norm.weight'.length);
    const beta = weights[`${layer}.norm.bias`];
    const average = weights[`${layer}.norm.running_mean`];
    const variance = weights[`${layer}.norm.running_var`];
    const scale = gamma.map((g, i) => g / Math.sqrt(variance[i] + epsilon));
    const perChannel = weights[`${layer}.weight`].length / gamma.length;
    folded[`${layer}.weight`] = weights[`${layer}.weight`].map((w, i) => w * scale[Math.floor(i / perChannel)]);
    folded[`${layer}.bias`] = beta.map((b, i) => b - average[i] * scale[i]);
  }
  return folded;
}
