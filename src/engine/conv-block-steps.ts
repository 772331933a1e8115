/** What of convolutions fits into blocks of channels, and the steps by which values are written there. */
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
  blocks(type: string, inputs: readonly string[], attributes: Record<string, AttributeValue>, to?: string): string;
  step(type: string, inputs: readonly string[], attributes?: Record<string, AttributeValue>): string;
  reshape(from: string, shape: readonly number[]): string;
  /** Entries of an axis in a new order. ONNX Runtime gathers in threads; it transposes in one. */
  gather(from: string, order: Int32Array, axis: number): string;
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
