/** A rewrite of convolutions for the CPU: those of small maps become one matrix product over all images. */
import type { Node } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';
import type { AttributeValue } from './proto.ts';

/**
 * On the CPU a convolution of small maps is slow: ONNX Runtime multiplies image by image and reads the whole kernel for
 * each. From a few hundred positions in all on, one product over all images is 2–5 times as fast.
 */
export function prefersGemm({ inputs: [x, weight], outputs: [y], attributes: { group } }: Node<'Conv'>): boolean {
  const [batch, , height, width] = y.shape;
  const work = weight.shape[1] * weight.shape[2] * weight.shape[3];
  return group === 1 && height * width <= 64 && batch * height * width >= 256 && work >= 256 && x.dtype === 'float32';
}

/** Windows gathered channels-last, [N·P, kh·kw·C], times the kernel. */
export function convAsGemm(w: NodeWriter, node: Node<'Conv'>, [x, weight, bias]: string[], [y]: string[]): void {
  const [n, c, h, wide] = node.inputs[0].shape;
  const [o, , kh, kw] = node.inputs[1].shape;
  const [, , oh, ow] = node.outputs[0].shape;
  const { strides, pads } = node.attributes;
  const step = (type: string, inputs: string[], attributes: Record<string, AttributeValue> = {}): string => {
    const to = w.fresh();
    w.emit(type, inputs, [to], attributes);
    return to;
  };
  const reshaped = (from: string, shape: readonly number[]): string => step('Reshape', [from, w.ints(shape)]);
  const [rows, columns] = [h + pads[0] + pads[2], wide + pads[1] + pads[3]];
  const padding = [0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]];
  const padded = padding.some(n => n > 0) ? step('Pad', [x, w.ints(padding)]) : x;
  const last = reshaped(step('Transpose', [padded], { perm: [0, 2, 3, 1] }), [n, rows * columns, c]);
  const taps = Int32Array.from({ length: oh * ow * kh * kw }, (_, i) => {
    const [position, tap] = [Math.floor(i / (kh * kw)), i % (kh * kw)];
    const row = Math.floor(position / ow) * strides[0] + Math.floor(tap / kw);
    return row * columns + (position % ow) * strides[1] + (tap % kw);
  });
  const gathered = step('Gather', [last, w.constant('int32', [taps.length], taps)], { axis: 1 });
  const windows = reshaped(gathered, [n * oh * ow, kh * kw * c]);
  const kernel = reshaped(step('Transpose', [weight], { perm: [0, 2, 3, 1] }), [o, kh * kw * c]);
  const product = step('Gemm', bias ? [windows, kernel, bias] : [windows, kernel], { transB: 1 });
  w.emit('Transpose', [reshaped(product, [n, oh, ow, o])], [y], { perm: [0, 3, 1, 2] });
}
