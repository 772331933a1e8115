/** Layers of neural networks: softmax, normalisation, convolution, pooling, losses. */
import { requireFloats } from '../dtype.ts';
import { apply, type Tensor } from '../graph.ts';
import { frontAxis, type Shape, shapeError } from '../shape.ts';
import { div, mul, neg, sqrt, square } from './elementwise.ts';
import { reshape, transpose } from './layout.ts';
import { linear } from './matrix.ts';
import { oneHot, sum } from './reduce.ts';

/**
 * Softmax along one axis, exp(x) / Σ exp(x), whose sum along it is 1 (ONNX's Softmax).
 * @param x any shape, of floats; the result has the same
 * @param axis counted from the front, or from the end where negative; default the last
 * @throws S3aError SHAPE when x has no such axis, DTYPE for another type than floats
 */
export function softmax(x: Tensor, axis = -1): Tensor {
  requireFloats('Softmax', [x]);
  return apply('Softmax', [x], { axis: frontAxis('Softmax', x.shape, axis) }, [x])[0];
}

/**
 * Logarithm of the softmax along one axis, x − log Σ exp(x), finite also where the softmax is rounded to 0 (ONNX's LogSoftmax).
 * @param x any shape, of floats; the result has the same
 * @param axis counted from the front, or from the end where negative; default the last
 * @throws S3aError SHAPE when x has no such axis, DTYPE for another type than floats
 */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  requireFloats('LogSoftmax', [x]);
  return apply('LogSoftmax', [x], { axis: frontAxis('LogSoftmax', x.shape, axis) }, [x])[0];
}

/**
 * Layer normalisation over the last axis. The saved mean and inverse deviation are further outputs of the node, which
 * the gradient reads.
 * @param x [..., D]
 * @param weight [D]
 * @param bias [D]
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, epsilon = 1e-5): Tensor {
  const extent = `${x.shape.at(-1)}`;
  if (weight.shape.join() !== extent || bias.shape.join() !== extent) {
    const shapes = [x.shape, weight.shape, bias.shape];
    throw shapeError('LayerNormalization', shapes, 'weight and bias must match the last axis');
  }
  requireFloats('LayerNormalization', [x, weight, bias]);
  const saved = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] };
  return apply('LayerNormalization', [x, weight, bias], { epsilon }, [x, saved, saved])[0];
}

/**
 * Batch normalisation with the statistics of the batch (Ioffe & Szegedy 2015).
 * @param x [N, C, H, W]
 * @param weight [C]
 * @param bias [C]
 * @returns output [N, C, H, W]; mean and biased variance [C], which carry no gradient
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  epsilon = 1e-5,
): { output: Tensor; mean: Tensor; variance: Tensor } {
  const channels = [x.shape[1]];
  if (x.shape.length !== 4 || weight.shape.join() !== channels.join() || bias.shape.join() !== channels.join()) {
    throw shapeError('BatchNorm', [x.shape, weight.shape, bias.shape], 'needs [N, C, H, W], [C] and [C]');
  }
  requireFloats('BatchNorm', [x, weight, bias]);
  const statistic = { dtype: x.dtype, shape: channels };
  const [output, , mean, variance] = apply('BatchNorm', [x, weight, bias], { epsilon }, [x, x, statistic, statistic]);
  return { output, mean, variance };
}

/** x / |x| along the last axis. */
export function l2Normalize(x: Tensor): Tensor {
  return div(x, sqrt(sum(square(x), { axes: [-1], keepdims: true })));
}

export interface Window {
  /** Positions from one window to the next; default 1, of a pool its kernel. */
  stride?: number;
  /** Zeros on every side. */
  padding?: number;
}

function requireWindow(operator: string, shapes: readonly Shape[], stride: number, padding: number): void {
  if (!(Number.isInteger(stride) && stride >= 1 && Number.isInteger(padding) && padding >= 0)) {
    throw shapeError(operator, shapes, `no window has stride ${stride} and padding ${padding}`);
  }
}

/** Extent of a convolution's or pool's output along one axis. */
function windowExtent(extent: number, kernel: number, stride: number, before: number, after: number): number {
  return Math.floor((extent + before + after - kernel) / stride) + 1;
}

/**
 * Two-dimensional convolution.
 * @param x [N, C, H, W]
 * @param weight [O, C/group, kh, kw]; `group` is 1 or C (depthwise, O = C)
 * @param bias [O]
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  { stride = 1, padding = 0, group = 1 }: Window & { group?: number } = {},
): Tensor {
  const [n, c, h, w] = x.shape;
  const [o, i, kh, kw] = weight.shape;
  if (x.shape.length !== 4 || weight.shape.length !== 4 || i * group !== c) {
    throw shapeError('Conv', [x.shape, weight.shape], `the channels do not match (group ${group})`);
  }
  if (group !== 1 && (group !== c || o !== c)) {
    throw shapeError('Conv', [x.shape, weight.shape], `group ${group} is neither 1 nor depthwise`);
  }
  if (bias && bias.shape.join() !== `${o}`) throw shapeError('Conv', [weight.shape, bias.shape], 'the bias is not [O]');
  requireFloats('Conv', bias ? [x, weight, bias] : [x, weight]);
  requireWindow('Conv', [x.shape, weight.shape], stride, padding);
  const shape = [n, o, windowExtent(h, kh, stride, padding, padding), windowExtent(w, kw, stride, padding, padding)];
  if (shape[2] < 1 || shape[3] < 1) throw shapeError('Conv', [x.shape, weight.shape], 'the kernel exceeds the image');
  const attributes = {
    strides: [stride, stride] as const,
    pads: [padding, padding, padding, padding] as const,
    group,
  };
  return apply('Conv', bias ? [x, weight, bias] : [x, weight], attributes, [{ dtype: x.dtype, shape }])[0];
}

/** The adjoint of `conv2d` with respect to its input; `height` and `width` are that input's extents. */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  height: number,
  width: number,
  { stride = 1, padding = 0, group = 1 }: Window & { group?: number } = {},
): Tensor {
  const [n, , h, w] = x.shape;
  const [, i, kh, kw] = weight.shape;
  if (x.shape.length !== 4 || weight.shape.length !== 4 || x.shape[1] !== weight.shape[0]) {
    throw shapeError('ConvTranspose', [x.shape, weight.shape], 'the channels do not match');
  }
  if (group !== 1 && (group !== x.shape[1] || i !== 1)) {
    throw shapeError('ConvTranspose', [x.shape, weight.shape], `group ${group} is neither 1 nor depthwise`);
  }
  requireFloats('ConvTranspose', [x, weight]);
  requireWindow('ConvTranspose', [x.shape, weight.shape], stride, padding);
  const outputPadding = [
    height - ((h - 1) * stride - 2 * padding + kh),
    width - ((w - 1) * stride - 2 * padding + kw),
  ] as const;
  if (outputPadding.some(p => p < 0 || p >= stride)) {
    throw shapeError('ConvTranspose', [x.shape, weight.shape], `no output of ${height}×${width} has this gradient`);
  }
  const attributes = {
    strides: [stride, stride] as const,
    pads: [padding, padding, padding, padding] as const,
    group,
    outputPadding,
  };
  const shape = [n, i * group, height, width];
  return apply('ConvTranspose', [x, weight], attributes, [{ dtype: x.dtype, shape }])[0];
}

/**
 * The adjoint of `conv2d` with respect to its weight: Σ over images and positions of windows(x) ⊗ y.
 * @param x [N, C, H, W], which the kernel slides over
 * @param y [N, O, OH, OW]
 * @param kernel its height and width
 * @returns [O, C, kh, kw]
 */
export function convWeight2d(
  x: Tensor,
  y: Tensor,
  kernel: readonly [number, number],
  { stride = 1, padding = 0 }: Window = {},
): Tensor {
  const [n, c, h, w] = x.shape;
  const [images, o, ...extents] = y.shape;
  if (x.shape.length !== 4 || y.shape.length !== 4 || images !== n) {
    throw shapeError('ConvWeight', [x.shape, y.shape], 'needs [N, C, H, W] and [N, O, OH, OW]');
  }
  requireFloats('ConvWeight', [x, y]);
  requireWindow('ConvWeight', [x.shape, y.shape], stride, padding);
  const [kh, kw] = kernel;
  const expected = [windowExtent(h, kh, stride, padding, padding), windowExtent(w, kw, stride, padding, padding)];
  if (expected.join() !== extents.join()) {
    throw shapeError('ConvWeight', [x.shape, y.shape], `a kernel of ${kh}×${kw} has other positions`);
  }
  const attributes = {
    kernel: [kh, kw] as const,
    strides: [stride, stride] as const,
    pads: [padding, padding, padding, padding] as const,
  };
  return apply('ConvWeight', [x, y], attributes, [{ dtype: x.dtype, shape: [o, c, kh, kw] }])[0];
}

function pool(operator: 'AveragePool' | 'MaxPool', x: Tensor, kernel: number, stride: number, padding: number): Tensor {
  const [n, c, h, w] = x.shape;
  if (x.shape.length !== 4 || h + 2 * padding < kernel || w + 2 * padding < kernel || padding * 2 > kernel) {
    throw shapeError(operator, [x.shape, [kernel, kernel]], 'the window does not fit [N, C, H, W]');
  }
  requireFloats(operator, [x]);
  requireWindow(operator, [x.shape, [kernel, kernel]], stride, padding);
  const shape = [
    n,
    c,
    windowExtent(h, kernel, stride, padding, padding),
    windowExtent(w, kernel, stride, padding, padding),
  ];
  const attributes = {
    kernel: [kernel, kernel] as const,
    strides: [stride, stride] as const,
    pads: [padding, padding, padding, padding] as const,
  };
  const outputs = [
    { dtype: x.dtype, shape },
    { dtype: 'int64' as const, shape },
  ];
  return apply(operator, [x], attributes, operator === 'MaxPool' ? outputs : outputs.slice(0, 1))[0];
}

/** Mean over square windows of [N, C, H, W]; padded zeros count, as in PyTorch. */
export function avgPool2d(x: Tensor, kernel: number, { stride = kernel, padding = 0 }: Window = {}): Tensor {
  return pool('AveragePool', x, kernel, stride, padding);
}

/** Maximum over square windows of [N, C, H, W]; the gradient goes to the first maximum. */
export function maxPool2d(x: Tensor, kernel: number, { stride = kernel, padding = 0 }: Window = {}): Tensor {
  return pool('MaxPool', x, kernel, stride, padding);
}

/**
 * Each position of [N, C, H, W] as a square of `factor` rows and columns: nearest neighbours. The gradient of `avgPool2d` with
 * windows side by side is this, divided by their area.
 */
export function upsample2d(x: Tensor, factor: number): Tensor {
  const [n, c, h, w] = x.shape;
  if (x.shape.length !== 4 || !(Number.isInteger(factor) && factor >= 1)) {
    throw shapeError('Upsample', [x.shape], `needs [N, C, H, W] and a whole factor, not ${factor}`);
  }
  requireFloats('Upsample', [x]);
  return apply('Upsample', [x], { factor }, [{ dtype: x.dtype, shape: [n, c, h * factor, w * factor] }])[0];
}

/**
 * Non-overlapping patches projected to vectors, as one matrix product (the same sums as a strided convolution).
 * @param x [N, C, H, W]
 * @param weight [D, C, P, P]
 * @returns [N, (H/P)·(W/P), D]; rows and columns beyond a whole patch are not allowed
 */
export function patchEmbed(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [n, c, h, w] = x.shape;
  const [d, , p, width] = weight.shape;
  if (x.shape.length !== 4 || weight.shape.length !== 4 || weight.shape[1] !== c || p !== width) {
    throw shapeError('patchEmbed', [x.shape, weight.shape], 'needs [N, C, H, W] and [D, C, P, P]');
  }
  if (h % p !== 0 || w % p !== 0) {
    throw shapeError('patchEmbed', [x.shape, weight.shape], 'the image is not a whole number of patches');
  }
  const grid = reshape(x, [n, c, h / p, p, w / p, p]);
  const patches = reshape(transpose(grid, [0, 2, 4, 1, 3, 5]), [n, (h / p) * (w / p), c * p * p]);
  return linear(patches, reshape(weight, [d, c * p * p]), bias);
}

/**
 * Cross-entropy with hard labels, one value a row.
 * @param logits [B, V]
 * @param labels int32 [B], each in [0, V); a row with any other label has loss 0 and no gradient
 * @returns [B]
 */
export function crossEntropy(logits: Tensor, labels: Tensor): Tensor {
  if (logits.shape.length !== 2 || labels.shape.length !== 1 || labels.shape[0] !== logits.shape[0]) {
    throw shapeError('crossEntropy', [logits.shape, labels.shape], 'needs [B, V] and [B]');
  }
  return neg(sum(mul(logSoftmax(logits), oneHot(labels, logits.shape[1])), { axes: [1] }));
}
