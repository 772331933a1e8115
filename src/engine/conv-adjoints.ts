/** The adjoints of convolutions in operators that every runtime has. */
import { type Node, type Program, type Tensor, within } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';
import { pad, pick, reshape, transpose } from './ops/layout.ts';
import { gemm } from './ops/matrix.ts';
import { conv2d } from './ops/nn.ts';
import type { AttributeValue } from './proto.ts';
import { rewriteProgram } from './rewrite.ts';

/**
 * The same program with the adjoints of convolutions in simpler operators: a transposed convolution of stride 1 is a convolution
 * with the flipped kernel, which on the CPU runs several times faster than ONNX Runtime's ConvTranspose, and the gradient of a
 * weight is a product.
 * @param kept nodes that stay as they are
 */
export function lowerAdjoints(program: Program, kept: (node: Node) => boolean): Program {
  return rewriteProgram(program, (node, [a, b]) => {
    if (kept(node)) return undefined;
    return within(node.place, () => {
      const lower = node.operator === 'ConvWeight' ? [gatheredProducts(node as Node<'ConvWeight'>, a, b)] : undefined;
      return node.operator === 'ConvTranspose' ? flippedConvolution(node as Node<'ConvTranspose'>, a, b) : lower;
    });
  });
}

function flippedConvolution({ attributes }: Node<'ConvTranspose'>, x: Tensor, weight: Tensor): Tensor[] | undefined {
  const { group, strides, pads } = attributes;
  const [o, i, kh, kw] = weight.shape;
  if (strides[0] !== 1 || kh !== kw || pads[0] >= kh) return undefined;
  const area = kh * kw;
  const flat = reshape(weight, [o, i, area]);
  const backwards = Array.from({ length: area }, (_, t) => area - 1 - t);
  const flipped = area === 1 ? flat : pick(flat, backwards, 2);
  const kernel = group === 1 ? reshape(transpose(flipped, [1, 0, 2]), [i, o, kh, kw]) : reshape(flipped, weight.shape);
  return [conv2d(x, kernel, undefined, { padding: kh - 1 - pads[0], group })];
}

/** All windows gathered, channels last, into one matrix [N·P, kh·kw·C], and one product for everything. */
function gatheredProducts({ outputs, attributes }: Node<'ConvWeight'>, x: Tensor, y: Tensor): Tensor {
  const [o, c, kh, kw] = outputs[0].shape;
  const [n, , oh, ow] = y.shape;
  const { strides, pads } = attributes;
  const padded = pad(x, [0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]);
  const [, , height, width] = padded.shape;
  const pixels = reshape(transpose(padded, [0, 2, 3, 1]), [n, height * width, c]);
  const taps = Array.from({ length: oh * ow * kh * kw }, (_, i) => {
    const [position, tap] = [Math.floor(i / (kh * kw)), i % (kh * kw)];
    const row = Math.floor(position / ow) * strides[0] + Math.floor(tap / kw);
    return row * width + (position % ow) * strides[1] + (tap % kw);
  });
  const windows = reshape(pick(pixels, taps, 1), [n * oh * ow, kh * kw * c]);
  const side = reshape(transpose(y, [0, 2, 3, 1]), [n * oh * ow, o]);
  const products = gemm(side, windows, undefined, { transA: true }); // [O, kh·kw·C]
  return reshape(transpose(reshape(products, [o, kh * kw, c]), [0, 2, 1]), outputs[0].shape);
}

/**
 * The gradient of a weight as a convolution: its channels are the images, its kernel is y, and its positions are those of the
 * weight, (row, column·C + channel), since one column of x with its channels last is C apart from the next. On two cores twice as
 * fast as the product, which needs the windows in memory; WebGPU computes such convolutions wrongly (ONNX Runtime 1.30).
 */
export function convWeight(w: NodeWriter, node: Node<'ConvWeight'>, [x, y]: string[], [dw]: string[]): void {
  const [n, c, height, width] = node.inputs[0].shape;
  const [, o, oh, ow] = node.inputs[1].shape;
  const { kernel, strides, pads } = node.attributes;
  const [kh, kw] = kernel;
  const step = (type: string, inputs: string[], attributes: Record<string, AttributeValue> = {}): string => {
    const to = w.fresh();
    w.emit(type, inputs, [to], attributes);
    return to;
  };
  const reshaped = (from: string, shape: readonly number[]): string => step('Reshape', [from, w.ints(shape)]);
  // Rows and columns beyond the last window, which a stride leaves over.
  const [rows, columns] = [0, 1].map(i => {
    const [extent, out] = i === 0 ? [height, oh] : [width, ow];
    return extent + 2 * pads[i] - ((out - 1) * strides[i] + kernel[i]);
  });
  const images = reshaped(step('Transpose', [x], { perm: [0, 2, 3, 1] }), [1, n, height, width * c]);
  const products = step('Conv', [images, step('Transpose', [y], { perm: [1, 0, 2, 3] })], {
    kernel_shape: [oh, ow],
    strides: [1, 1],
    dilations: [strides[0], strides[1] * c],
    pads: [pads[0], pads[1] * c, pads[0], pads[1] * c],
  }); // [1, O, kh + rows, (kw + columns)·C]
  const whole = rows + columns === 0;
  const ends = [w.ints([0, 0]), w.ints([kh, kw * c]), w.ints([2, 3])];
  const taken = whole ? products : step('Slice', [products, ...ends]);
  w.emit('Transpose', [reshaped(taken, [o, kh, kw, c])], [dw], { perm: [0, 3, 1, 2] });
}
