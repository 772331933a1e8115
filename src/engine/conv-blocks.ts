/**
 * Convolutions on the CPU with their channels in blocks: the layout of ONNX Runtime's direct kernels, which it chooses by itself
 * only for constant weights. Values stay in blocks from one convolution to the next, through all element-wise work.
 */
import type { Node, OperatorName, Program, Tensor } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';
import type { AttributeValue } from './proto.ts';
import { sizeOf } from './shape.ts';

/** ONNX Runtime's operators of this layout; `Conv` takes weights and `Reorder…` give values in blocks. */
export const BLOCKS_DOMAIN = 'com.microsoft.nchwc';

/** Operators that take each element by itself, so that the order of elements is all the same to them. */
const ELEMENTWISE: ReadonlySet<OperatorName> = new Set<OperatorName>([
  ...([
    'Add',
    'Sub',
    'Mul',
    'Div',
    'Max',
    'Min',
    'Neg',
    'Abs',
    'Exp',
    'Sqrt',
    'Reciprocal',
    'Relu',
    'Sigmoid',
  ] as const),
  ...(['Equal', 'Greater', 'GreaterOrEqual', 'And', 'Where', 'Cast'] as const),
]);

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

/** Writes nodes in blocks; one for each model that is written. */
export class ChannelBlocks {
  readonly #writer: NodeWriter;
  readonly #size: number;
  /** What lies in blocks, as [N, C/B, H, W, B] under the shape [N, C, H, W]. */
  readonly #blocked = new Map<Tensor, string>();
  /** What lies with channels last. */
  readonly #last = new Map<Tensor, string>();

  /** @param size channels in a block on this machine */
  constructor(writer: NodeWriter, size: number) {
    this.#writer = writer;
    this.#size = size;
  }

  has(tensor: Tensor): boolean {
    return this.#blocked.has(tensor);
  }

  /** Writes a node if it is to be computed in blocks; false leaves it to the writer. */
  write(node: Node): boolean {
    const [y] = node.outputs;
    if (fitsBlocks(node, this.#size) && !this.#isConstant(node.inputs[1])) {
      if (node.operator === 'ConvWeight') this.#convWeight(node as Node<'ConvWeight'>);
      else this.#blocked.set(y, this.#convolution(node as Node<'Conv' | 'ConvTranspose'>));
      return true;
    }
    if (node.operator === 'AveragePool' && this.has(node.inputs[0])) {
      this.#blocked.set(y, this.#averagePool(node as Node<'AveragePool'>));
      return true;
    }
    if (node.operator === 'ReduceSum') return this.#sumOfChannels(node as Node<'ReduceSum'>);
    return ELEMENTWISE.has(node.operator) && this.#elementwise(node);
  }

  /** Writes a value that lies in blocks under a name, as ONNX has it. */
  unblock(tensor: Tensor, to: string): void {
    const { source, dtype, shape } = tensor;
    if (dtype === 'float32') {
      this.#emit('ReorderOutput', [this.#blocked.get(tensor)!], { channels: shape[1], channels_last: 0 }, to);
    } else if (source.kind === 'node') {
      // There is no reordering of other types; these are made by one element-wise node.
      this.#writer.spell(
        source.node,
        source.node.inputs.map(x => this.#writer.name(x)),
        [to],
      );
    }
  }

  #isConstant({ source }: Tensor): boolean {
    return source.kind === 'constant' || (source.kind === 'input' && this.#writer.frozen.has(source.name));
  }

  #emit(type: string, inputs: string[], attributes: Record<string, AttributeValue>, to = this.#writer.fresh()): string {
    this.#writer.emit(type, inputs, [to], attributes, BLOCKS_DOMAIN);
    return to;
  }

  #step(type: string, inputs: string[], attributes: Record<string, AttributeValue> = {}): string {
    const to = this.#writer.fresh();
    this.#writer.emit(type, inputs, [to], attributes);
    return to;
  }

  #reshape(from: string, shape: readonly number[]): string {
    return this.#step('Reshape', [from, this.#writer.ints(shape)]);
  }

  /** The name of a value in blocks. */
  #inBlocks(tensor: Tensor): string {
    const known = this.#blocked.get(tensor);
    if (known !== undefined) return known;
    const made = this.#emit('ReorderInput', [this.#writer.name(tensor)], { channels_last: 0 });
    this.#blocked.set(tensor, made);
    return made;
  }

  #convolution(node: Node<'Conv' | 'ConvTranspose'>): string {
    const [x, weight, bias] = node.inputs;
    const { strides, pads } = node.attributes;
    const [, , kh, kw] = weight.shape;
    const transposed = node.operator === 'ConvTranspose';
    const from = x.shape[1] < this.#size ? this.#writer.name(x) : this.#inBlocks(x);
    const inputs = [from, transposed ? this.#flippedKernel(weight) : this.#kernel(weight)];
    if (bias) inputs.push(this.#writer.name(bias));
    const reach = transposed ? pads.map((before, i) => (i % 2 === 0 ? kh : kw) - 1 - before) : pads;
    return this.#emit('Conv', inputs, { kernel_shape: [kh, kw], strides, pads: reach, group: 1 });
  }

  /** [O, C, kh, kw] as [O/B, C/B, kh, kw, B of C, B of O]; fewer channels than a block stay as they are. */
  #kernel(weight: Tensor): string {
    const [o, c, kh, kw] = weight.shape;
    const [b, area] = [this.#size, kh * kw];
    const flat = this.#reshape(this.#writer.name(weight), [1, o, 1, c * area]);
    const blocks = this.#emit('ReorderInput', [flat], { channels_last: 0 }); // [O/B, C·kh·kw, B]
    if (c < b) return this.#reshape(blocks, weight.shape);
    const split = this.#reshape(blocks, [o / b, c / b, b, area, b]);
    return this.#reshape(this.#step('Transpose', [split], { perm: [0, 1, 3, 2, 4] }), weight.shape);
  }

  /** The kernel of the adjoint, [C, O, kh, kw], turned by half a circle, in blocks. */
  #flippedKernel(weight: Tensor): string {
    const [o, c, kh, kw] = weight.shape;
    const [b, area] = [this.#size, kh * kw];
    const flat = this.#reshape(this.#writer.name(weight), [o, c, 1, area]);
    const blocks = this.#emit('ReorderInput', [flat], { channels_last: 0 }); // [O, C/B, kh·kw, B]
    const split = this.#reshape(blocks, [o / b, b, c / b, area, b]);
    const turned = this.#step('Transpose', [split], { perm: [2, 0, 3, 1, 4] });
    const backwards = this.#writer.constant(
      'int32',
      [area],
      Int32Array.from({ length: area }, (_, i) => area - 1 - i),
    );
    return this.#reshape(this.#step('Gather', [turned, backwards], { axis: 2 }), [c, o, kh, kw]);
  }

  /**
   * The gradient of a weight is a convolution itself: its channels are the images, its kernel is y, and its positions are the
   * kernel's, (row, column·C + channel), C columns apart. Groups of images make work for all threads.
   */
  #convWeight({ inputs: [x, y], outputs: [dw], attributes: { kernel, strides, pads } }: Node<'ConvWeight'>): void {
    const [n, c, height, width] = x.shape;
    const [, o, oh, ow] = y.shape;
    const [kh, kw] = kernel;
    const [b, batches] = [this.#size, n / this.#size];
    const groups = groupsOf(batches, Math.ceil(o / (4 * b)) * kh);
    // Exactly the rows and columns that windows reach; what a stride leaves over is cut off.
    const [bottom, right] = [
      (oh - 1) * strides[0] + kh - height - pads[0],
      (ow - 1) * strides[1] + kw - width - pads[1],
    ];
    const cut = Math.min(bottom, 0);
    const reach = [0, 0, pads[1], 0, 0, cut, right, 0];
    const last = this.#channelsLast(x); // [N, H, W, C]
    const padded = reach.some(p => p !== 0) ? this.#step('Pad', [last, this.#writer.ints(reach)]) : last;
    const columns = (ow - 1) * strides[1] + kw;
    const images = this.#emit('ReorderInput', [this.#reshape(padded, [1, n, height + cut, columns * c])], {
      channels_last: 0,
    });
    const split = this.#reshape(this.#inBlocks(y), [groups, batches / groups, b, o / b, oh * ow, b]);
    const turned = this.#step('Transpose', [split], { perm: [0, 3, 1, 4, 2, 5] });
    const products = this.#emit('Conv', [images, this.#reshape(turned, [groups * o, n / groups, oh, ow])], {
      kernel_shape: [oh, ow],
      strides: [1, 1],
      dilations: [strides[0], strides[1] * c],
      pads: [pads[0], 0, bottom - cut, 0],
      group: groups,
    }); // [groups, O/B, kh·kw·C, B]
    const apart = this.#reshape(products, [groups, o * kh * kw * c]);
    const sum = groups === 1 ? apart : this.#step('ReduceSum', [apart, this.#writer.ints([0])], { keepdims: 0 });
    const whole = this.#emit('ReorderOutput', [this.#reshape(sum, [1, o, 1, kh * kw * c])], {
      channels: o,
      channels_last: 0,
    });
    const rows = this.#step('Transpose', [this.#reshape(whole, [o, kh * kw, c])], { perm: [0, 2, 1] });
    this.#writer.emit('Reshape', [rows, this.#writer.ints(dw.shape)], [this.#writer.name(dw)]);
  }

  #channelsLast(x: Tensor): string {
    const made =
      this.#last.get(x) ??
      (this.has(x)
        ? this.#emit('ReorderOutput', [this.#inBlocks(x)], { channels: x.shape[1], channels_last: 1 })
        : this.#step('Transpose', [this.#writer.name(x)], { perm: [0, 2, 3, 1] }));
    this.#last.set(x, made);
    return made;
  }

  #averagePool({ inputs: [x], attributes: { kernel, strides, pads } }: Node<'AveragePool'>): string {
    return this.#emit('AveragePool', [this.#inBlocks(x)], {
      kernel_shape: kernel,
      strides,
      pads,
      count_include_pad: 1,
    });
  }

  /** Sums over all images and positions: first whole images are added up. */
  #sumOfChannels({ inputs: [x], outputs: [y], attributes: { axes } }: Node<'ReduceSum'>): boolean {
    if (!this.has(x) || axes.join() !== '0,2,3') return false;
    const [n, c, h, w] = x.shape;
    const b = this.#size;
    const sum = (from: string, axis: number): string =>
      this.#step('ReduceSum', [from, this.#writer.ints([axis])], { keepdims: 0 });
    const image = this.#reshape(sum(this.#reshape(this.#inBlocks(x), [n, c * h * w]), 0), [c / b, h * w, b]);
    this.#writer.emit('Reshape', [sum(image, 1), this.#writer.ints(y.shape)], [this.#writer.name(y)]);
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

/** The fewest groups of batches that give at least 24 pieces of work. */
function groupsOf(batches: number, pieces: number): number {
  let groups = 1;
  while (groups < batches && (batches % groups !== 0 || groups * pieces < 24)) groups++;
  return groups;
}
