/** What of convolutions fits into blocks of channels, and their kernels there. */
import type { Node, Program, Tensor } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';
import type { AttributeValue } from './proto.ts';

/** ONNX Runtime's operators of this layout; `Conv` takes weights and `Reorder…` give values in blocks. */
export const BLOCKS_DOMAIN = 'com.microsoft.nchwc';

/** How conv-blocks.ts writes values in blocks of channels. */
export interface BlockSteps {
  readonly writer: NodeWriter;
  /** Channels in a block. */
  readonly size: number;
  has(tensor: Tensor): boolean;
  /** The name of a value in blocks. */
  inBlocks(tensor: Tensor): string;
  /** Writes an operator of blocks, or one of ONNX, and returns the name of its output. */
  blocks(type: string, inputs: readonly string[], attributes: Record<string, AttributeValue>): string;
  step(type: string, inputs: readonly string[], attributes?: Record<string, AttributeValue>): string;
  reshape(from: string, shape: readonly number[]): string;
}

/** Whether a convolution, or a gradient of one, can be computed in blocks of so many channels. */
export function fitsBlocks(node: Node, block: number): boolean {
  const [a, b] = node.inputs;
  if (a.dtype !== 'float32') return false;
  if (node.operator === 'ConvWeight') return a.shape[0] % block === 0 && b.shape[1] % block === 0;
  if (node.operator !== 'Conv' && node.operator !== 'ConvTranspose') return false;
  const { group, strides, pads } = (node as Node<'Conv' | 'ConvTranspose'>).attributes;
  const [from, to] = [a.shape[1], node.outputs[0].shape[1]];
  if (group !== 1 || to % block !== 0) return false;
  if (node.operator === 'Conv') return from % block === 0 || from < block;
  const [, , kh, kw] = b.shape;
  return from % block === 0 && strides[0] === 1 && kh === kw && pads[0] < kh;
}

/** Whether there is anything in a program that blocks are for. */
export function hasConvolutions({ nodes }: Program): boolean {
  return nodes.some(({ operator }) => operator === 'Conv' || operator === 'ConvTranspose' || operator === 'ConvWeight');
}

/** [O, C, kh, kw] as [O/B, C/B, kh, kw, B of C, B of O]; fewer channels than a block stay as they are. */
export function kernelInBlocks(s: BlockSteps, weight: Tensor): string {
  const [o, c, kh, kw] = weight.shape;
  const [b, area] = [s.size, kh * kw];
  const flat = s.reshape(s.writer.name(weight), [1, o, 1, c * area]);
  const blocks = s.blocks('ReorderInput', [flat], { channels_last: 0 }); // [O/B, C·kh·kw, B]
  if (c < b) return s.reshape(blocks, weight.shape);
  const split = s.reshape(blocks, [o / b, c / b, b, area, b]);
  return s.reshape(s.step('Transpose', [split], { perm: [0, 1, 3, 2, 4] }), weight.shape);
}

/** The kernel of the adjoint, [C, O, kh, kw], turned by half a circle, in blocks. */
export function flippedKernel(s: BlockSteps, weight: Tensor): string {
  const [o, c, kh, kw] = weight.shape;
  const [b, area] = [s.size, kh * kw];
  const flat = s.reshape(s.writer.name(weight), [o, c, 1, area]);
  const blocks = s.blocks('ReorderInput', [flat], { channels_last: 0 }); // [O, C/B, kh·kw, B]
  const split = s.reshape(blocks, [o / b, b, c / b, area, b]);
  const turned = s.step('Transpose', [split], { perm: [2, 0, 3, 1, 4] });
  const backwards = s.writer.constant(
    'int32',
    [area],
    Int32Array.from({ length: area }, (_, i) => area - 1 - i),
  );
  return s.reshape(s.step('Gather', [turned, backwards], { axis: 2 }), [c, o, kh, kw]);
}
