/** Gradients of softmax, layer normalisation, convolution and pooling. */
import type { Tensor } from '../graph.ts';
import { add, exp, mul, reciprocal, sqrt, sub } from '../ops/elementwise.ts';
import { concat, pad, pick, reshape, scatterAdd, slice } from '../ops/layout.ts';
import { avgPool2d, conv2d, convTranspose2d, convWeight2d, upsample2d } from '../ops/nn.ts';
import { full, mean, sum, sumTo } from '../ops/reduce.ts';
import { type Shape, sizeOf } from '../shape.ts';
import type { RuleTable } from './rule.ts';

export const layers: RuleTable<
  | 'Softmax'
  | 'LogSoftmax'
  | 'LayerNormalization'
  | 'BatchNorm'
  | 'Conv'
  | 'ConvWeight'
  | 'ConvTranspose'
  | 'AveragePool'
  | 'MaxPool'
  | 'Upsample'
> = {
  Softmax: ({ outputs: [y], attributes: { axis } }, dy) => {
    const weighted = mul(dy, y);
    return [sub(weighted, mul(y, sum(weighted, { axes: [axis], keepdims: true })))];
  },
  LogSoftmax: ({ outputs: [y], attributes: { axis } }, dy) => [
    sub(dy, mul(exp(y), sum(dy, { axes: [axis], keepdims: true }))),
  ],
  // Ba, Kiros & Hinton 2016: with x̂ = (x − mean)·inv and g = dy·w, dx = inv·(g − mean(g) − x̂·mean(g·x̂)).
  LayerNormalization: ({ inputs: [x, weight], outputs: [, average, inverse] }, dy) => {
    const normalised = mul(sub(x, average), inverse);
    const g = mul(dy, weight);
    const along = { axes: [-1], keepdims: true };
    const shift = add(mean(g, along), mul(normalised, mean(mul(g, normalised), along)));
    return [mul(sub(g, shift), inverse), sumTo(mul(dy, normalised), weight.shape), sumTo(dy, weight.shape)];
  },
  // With d = x − mean, i = 1/√(var + ε): dx = w·i·(dy − mean(dy) − d·i²·mean(dy·d)), all means over N, H, W.
  BatchNorm: ({ inputs: [x, weight], outputs: [, centred, , variance], attributes: { epsilon } }, dy) => {
    const along = { axes: [0, 2, 3], keepdims: true };
    const column = (t: Tensor): Tensor => reshape(t, [1, x.shape[1], 1, 1]);
    const inverse = reciprocal(sqrt(add(column(variance), epsilon)));
    const slope = mul(column(weight), inverse);
    const average = mean(dy, along);
    const product = mean(mul(dy, centred), along);
    const tilt = mul(mul(slope, mul(inverse, inverse)), product);
    const count = sizeOf(x.shape) / x.shape[1];
    return [
      sub(sub(mul(dy, slope), mul(centred, tilt)), mul(slope, average)),
      reshape(mul(mul(product, inverse), count), weight.shape),
      reshape(mul(average, count), weight.shape),
    ];
  },
  Conv: (node, dy) => {
    const [x, weight, bias] = node.inputs;
    const { strides, pads, group } = node.attributes;
    const [stride, padding] = [strides[0], pads[0]];
    return [
      convTranspose2d(dy, weight, x.shape[2], x.shape[3], { stride, padding, group }),
      weightGradient(x, dy, weight.shape, stride, padding, group),
      bias && sum(dy, { axes: [0, 2, 3] }),
    ];
  },
  ConvWeight: ({ inputs: [x, y], attributes: { strides, pads } }, dw) => {
    const window = { stride: strides[0], padding: pads[0] };
    return [convTranspose2d(y, dw, x.shape[2], x.shape[3], window), conv2d(x, dw, undefined, window)];
  },
  ConvTranspose: (node, dy) => {
    const [x, weight] = node.inputs;
    const { strides, pads, group } = node.attributes;
    const [stride, padding] = [strides[0], pads[0]];
    const dx = conv2d(dy, weight, undefined, { stride, padding, group });
    return [dx, weightGradient(dy, x, weight.shape, stride, padding, group)];
  },
  AveragePool: ({ inputs: [x], outputs: [y], attributes: { kernel, strides, pads } }, dy) => {
    const [n, c, h, w] = x.shape;
    const share = mul(dy, 1 / (kernel[0] * kernel[1]));
    if (kernel[0] === strides[0] && pads[0] === 0) {
      const [, , oh, ow] = y.shape;
      const covered = upsample2d(share, kernel[0]);
      return [pad(covered, [0, 0, 0, 0, 0, 0, h - oh * kernel[0], w - ow * kernel[0]])];
    }
    const flat = reshape(share, [n * c, 1, y.shape[2], y.shape[3]]);
    const ones = full(1, [1, 1, kernel[0], kernel[1]]);
    const reach = { stride: strides[0], padding: pads[0] };
    const [height, width] = reachedExtent(x.shape, y.shape, kernel[0], reach);
    const dx = convTranspose2d(flat, ones, height, width, reach);
    return [pad(reshape(dx, [n, c, height, width]), [0, 0, 0, 0, 0, 0, h - height, w - width])];
  },
  // ORT's second output holds the position of every maximum in the flattened input.
  MaxPool: ({ inputs: [x], outputs: [, positions] }, dy) => [
    reshape(scatterAdd(reshape(positions, [-1]), reshape(dy, [-1]), sizeOf(x.shape)), x.shape),
  ],
  Upsample: ({ attributes: { factor } }, dy) => [mul(avgPool2d(dy, factor), factor * factor)],
};

/** The extents of the input that windows touch: at most stride − 1 last rows are left out by the floor. */
function reachedExtent(
  x: Shape,
  y: Shape,
  kernel: number,
  { stride, padding }: { stride: number; padding: number },
): [number, number] {
  const reach = (extent: number, out: number): number =>
    Math.min(extent, (out - 1) * stride - 2 * padding + kernel + stride - 1);
  return [reach(x[2], y[2]), reach(x[3], y[3])];
}

/** Σ over images and positions of windows(x) ⊗ y: the gradient of a convolution's weight. */
function weightGradient(x: Tensor, y: Tensor, shape: Shape, stride: number, padding: number, group: number): Tensor {
  const [, , kh, kw] = shape;
  if (group === 1) return convWeight2d(x, y, [kh, kw], { stride, padding });
  return depthwiseProducts(pad(x, [0, 0, padding, padding, 0, 0, padding, padding]), y, shape, stride);
}

/** One channel at a time: [C, 1, kh, kw]. */
function depthwiseProducts(padded: Tensor, y: Tensor, shape: Shape, stride: number): Tensor {
  const [c, , kh, kw] = shape;
  const [, , oh, ow] = y.shape;
  const products = grid(kh, kw).map(([row, column]) => {
    const tap = strided(strided(padded, 2, row, oh, stride), 3, column, ow, stride);
    return reshape(sum(mul(tap, y), { axes: [0, 2, 3] }), [c, 1]);
  });
  return reshape(concat(products, 1), shape);
}

/** All pairs [row, column]. */
function grid(rows: number, columns: number): [number, number][] {
  return Array.from({ length: rows * columns }, (_, i) => [Math.floor(i / columns), i % columns]);
}

/** Entries start, start + stride, … of an axis, `count` of them. */
function strided(x: Tensor, axis: number, start: number, count: number, stride: number): Tensor {
  if (stride === 1) return slice(x, axis, start, start + count);
  return pick(
    x,
    Array.from({ length: count }, (_, i) => start + i * stride),
    axis,
  );
}
