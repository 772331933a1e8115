/** What lies between convolutions in blocks of channels: pools, masks, and the sums for biases. */
import type { BlockSteps } from './conv-block-steps.ts';
import type { Node, Tensor } from './graph.ts';

/** Whether a tensor is the constant number 0. */
export function isZero({ source, shape }: Tensor): boolean {
  return source.kind === 'constant' && shape.length === 0 && source.data[0] === 0;
}

/** Whether the readers of a condition are one node, which makes float32 of it. */
export function becomesNumbers([reader, ...others]: readonly Node[]): boolean {
  return reader?.operator === 'Cast' && others.length === 0 && (reader as Node<'Cast'>).attributes.to === 'float32';
}

/** Writes a pool and returns the name of its output in blocks. */
export function averagePool(s: BlockSteps, { inputs: [x], attributes }: Node<'AveragePool'>): string {
  const { kernel, strides, pads } = attributes;
  return s.blocks('AveragePool', [s.inBlocks(x)], { kernel_shape: kernel, strides, pads, count_include_pad: 1 });
}

/** Writes each position as a square and returns the name of its output in blocks. */
export function upsample(s: BlockSteps, { inputs: [x], attributes: { factor } }: Node<'Upsample'>): string {
  return s.blocks('Upsample', [s.inBlocks(x)], { scales: [1, 1, factor, factor], mode: 'nearest' });
}

/** Writes the sum over all images and positions, adding up whole images first; false leaves other sums to the writer. */
export function sumOfChannels(
  s: BlockSteps,
  { inputs: [x], outputs: [y], attributes: { axes } }: Node<'ReduceSum'>,
): boolean {
  if (!s.has(x) || axes.join() !== '0,2,3') return false;
  const [n, c, h, w] = x.shape;
  // A product with ones, as all sums of rows are (spellings.ts).
  const ones = s.writer.constant('float32', [1, n], new Float32Array(n).fill(1));
  const images = s.step('MatMul', [ones, s.reshape(s.inBlocks(x), [n, c * h * w])]);
  const rows = s.reshape(images, [c / s.size, h * w, s.size]);
  const sum = s.step('ReduceSum', [rows, s.writer.ints([1])], { keepdims: 0 });
  s.writer.emit('Reshape', [sum, s.writer.ints(y.shape)], [s.writer.name(y)]);
  return true;
}
