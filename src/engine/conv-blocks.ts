/**
 * Convolutions on the CPU with their channels in blocks: the layout of ONNX Runtime's direct kernels, which it chooses by itself
 * only for constant weights. Values stay in blocks from one convolution to the next, through all element-wise work.
 */

import { isElementwise } from './axes.ts';
import { averagePool, becomesNumbers, isZero, sumOfChannels, upsample } from './conv-block-nodes.ts';
import { BLOCKS_DOMAIN, type BlockSteps, fitsBlocks } from './conv-block-steps.ts';
import { flippedKernel, kernelInBlocks } from './conv-kernel-blocks.ts';
import { type BlockedConvolution, writeConvolution } from './conv-small-maps.ts';
import { weightInBlocks } from './conv-weight-blocks.ts';
import type { Node, Tensor } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';
import type { AttributeValue } from './proto.ts';
import { sizeOf } from './shape.ts';

/** Writes nodes in blocks; one for each model that is written. */
export class ChannelBlocks {
  readonly #writer: NodeWriter;
  readonly #size: number;
  readonly #readers: ReadonlyMap<Tensor, readonly Node[]>;
  /** What lies in blocks, as [N, C/B, H, W, B] under the shape [N, C, H, W]. */
  readonly #blocked = new Map<Tensor, string>();
  /** Convolutions that wait for what their one reader is: they add a value and clip at zero in the same pass. */
  readonly #waiting = new Map<Tensor, BlockedConvolution>();
  /** Where values are positive, for one reader that makes numbers of it. */
  readonly #positive = new Map<Tensor, Tensor>();

  /**
   * @param size channels in a block on this machine
   * @param nodes of the program
   */
  constructor(writer: NodeWriter, size: number, nodes: readonly Node[]) {
    this.#writer = writer;
    this.#size = size;
    const readers = new Map<Tensor, Node[]>();
    for (const node of nodes) for (const x of node.inputs) readers.set(x, [...(readers.get(x) ?? []), node]);
    this.#readers = readers;
  }

  has(tensor: Tensor): boolean {
    return this.#blocked.has(tensor) || this.#waiting.has(tensor) || this.#positive.has(tensor);
  }

  /** Writes a node if it is to be computed in blocks; false leaves it to the writer. */
  write(node: Node): boolean {
    const [y] = node.outputs;
    if (fitsBlocks(node, this.#size) && !this.#isConstant(node.inputs[1])) {
      if (node.operator === 'ConvWeight') weightInBlocks(this.#steps, node as Node<'ConvWeight'>);
      else this.#await(y, this.#convolution(node as Node<'Conv' | 'ConvTranspose'>));
      return true;
    }
    if (node.operator === 'AveragePool' && this.has(node.inputs[0])) {
      this.#blocked.set(y, averagePool(this.#steps, node as Node<'AveragePool'>));
      return true;
    }
    if (node.operator === 'Upsample' && this.has(node.inputs[0])) {
      this.#blocked.set(y, upsample(this.#steps, node as Node<'Upsample'>));
      return true;
    }
    if (node.operator === 'ReduceSum') return sumOfChannels(this.#steps, node as Node<'ReduceSum'>);
    return this.#joined(node) || this.#mask(node) || (isElementwise(node) && this.#elementwise(node));
  }

  /** Writes a value that lies in blocks under a name, as ONNX has it. */
  unblock(tensor: Tensor, to: string): void {
    const { source, dtype, shape } = tensor;
    if (dtype === 'float32') {
      this.#emit('ReorderOutput', [this.#inBlocks(tensor)], { channels: shape[1], channels_last: 0 }, to);
    } else if (source.kind === 'node') {
      // There is no reordering of other types; these are made by one element-wise node.
      this.#writer.spell(
        source.node,
        source.node.inputs.map(x => this.#writer.name(x)),
        [to],
      );
    }
  }

  get #steps(): BlockSteps {
    return {
      writer: this.#writer,
      size: this.#size,
      has: tensor => this.has(tensor),
      inBlocks: tensor => this.#inBlocks(tensor),
      blocks: (type, inputs, attributes, to) => this.#emit(type, inputs, attributes, to),
      step: (type, inputs, attributes) => this.#step(type, inputs, attributes),
      reshape: (from, shape) => this.#reshape(from, shape),
      gather: (from, order, axis) =>
        this.#step('Gather', [from, this.#writer.constant('int32', [order.length], order)], { axis }),
    };
  }

  #isConstant({ source }: Tensor): boolean {
    return source.kind === 'constant' || (source.kind === 'input' && this.#writer.frozen.has(source.name));
  }

  #emit(
    type: string,
    inputs: readonly string[],
    attributes: Record<string, AttributeValue>,
    to = this.#writer.fresh(),
  ): string {
    this.#writer.emit(type, inputs, [to], attributes, BLOCKS_DOMAIN);
    return to;
  }

  #step(type: string, inputs: readonly string[], attributes: Record<string, AttributeValue> = {}): string {
    const to = this.#writer.fresh();
    this.#writer.emit(type, inputs, [to], attributes);
    return to;
  }

  #reshape(from: string, shape: readonly number[]): string {
    return this.#step('Reshape', [from, this.#writer.ints(shape)]);
  }

  /** The name of a value in blocks. */
  #inBlocks(tensor: Tensor): string {
    const waiting = this.#waiting.get(tensor);
    if (waiting) this.#settle(tensor, waiting);
    const known = this.#blocked.get(tensor);
    if (known !== undefined) return known;
    const made = this.#emit('ReorderInput', [this.#writer.name(tensor)], { channels_last: 0 });
    this.#blocked.set(tensor, made);
    return made;
  }

  /** Keeps a convolution back where its one reader may become part of it. */
  #await(tensor: Tensor, waiting: BlockedConvolution): void {
    if (this.#readers.get(tensor)?.length === 1) this.#waiting.set(tensor, waiting);
    else this.#settle(tensor, waiting);
  }

  #settle(tensor: Tensor, waiting: BlockedConvolution): void {
    this.#waiting.delete(tensor);
    this.#blocked.set(tensor, writeConvolution(this.#steps, waiting, tensor.shape));
  }

  /** A sum with a convolution that waits, and its clipping at zero, are part of it. */
  #joined({ operator, inputs, outputs: [y] }: Node): boolean {
    const of = inputs.find(x => this.#waiting.has(x));
    if (!of) return false;
    const waiting = this.#waiting.get(of)!;
    if (operator === 'Relu') {
      this.#waiting.delete(of);
      this.#settle(y, { ...waiting, activation: 'Relu' });
      return true;
    }
    const added = inputs.find(x => x !== of);
    if (operator !== 'Add' || !added || waiting.inputs.length === 4) return false;
    if (added.shape.join() !== y.shape.join()) return false;
    this.#waiting.delete(of);
    const [from, kernel, bias = ''] = waiting.inputs;
    this.#await(y, { ...waiting, inputs: [from, kernel, bias, this.#inBlocks(added)] });
    return true;
  }

  #convolution(node: Node<'Conv' | 'ConvTranspose'>): BlockedConvolution {
    const [x, weight, bias] = node.inputs;
    const { strides, pads } = node.attributes;
    const [, , kh, kw] = weight.shape;
    const transposed = node.operator === 'ConvTranspose';
    const from = x.shape[1] < this.#size ? this.#writer.name(x) : this.#inBlocks(x);
    const inputs = [from, transposed ? flippedKernel(this.#steps, weight) : kernelInBlocks(this.#steps, weight)];
    if (bias) inputs.push(this.#writer.name(bias));
    const reach = transposed ? pads.map((before, i) => (i % 2 === 0 ? kh : kw) - 1 - before) : pads;
    return { from: x.shape, inputs, kernel: [kh, kw], strides, pads: reach };
  }

  /**
   * 1 where a value is positive and else 0, in one pass that runs in threads (ONNX Runtime's Cast of such a condition does not). What is
   * less than 3·10⁻³⁹, which no number of full precision is, gets less than 1.
   */
  #mask({ operator, inputs: [x, bound], outputs: [y] }: Node): boolean {
    if (operator === 'Greater') {
      if (!this.#blocked.has(x) || x.dtype !== 'float32' || !isZero(bound)) return false;
      if (!becomesNumbers(this.#readers.get(y) ?? [])) return false;
      this.#positive.set(y, x);
      return true;
    }
    const of = operator === 'Cast' && this.#positive.get(x);
    if (!of) return false;
    const steep = { alpha: { float: 3.4e38 }, beta: { float: 0 } };
    this.#blocked.set(y, this.#step('HardSigmoid', [this.#inBlocks(of)], steep));
    return true;
  }

  #elementwise(node: Node): boolean {
    const [{ shape }] = node.outputs;
    if (shape.length !== 4 || shape[1] % this.#size !== 0 || !node.inputs.some(x => this.has(x))) return false;
    const alike = (x: Tensor): boolean => x.shape.join() === shape.join();
    const usable = node.inputs.every(x => (alike(x) ? this.has(x) || x.dtype === 'float32' : sizeOf(x.shape) === 1));
    if (!usable) return false;
    const inputs = node.inputs.map(x => (alike(x) ? this.#inBlocks(x) : this.#writer.name(x)));
    const to = this.#writer.fresh();
    this.#writer.spell(node, inputs, [to]);
    this.#blocked.set(node.outputs[0], to);
    return true;
  }
}
