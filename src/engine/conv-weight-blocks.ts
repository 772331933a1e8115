/** The gradient of a convolution's weight on the CPU, as one of ONNX Runtime's direct convolutions. */
import type { BlockSteps } from './conv-block-steps.ts';
import type { Node, Tensor } from './graph.ts';

/**
 * The gradient of a weight is a convolution itself: its channels are the images, its kernel is y, and its positions are those of
 * the weight, (row, column·C + channel), since columns of x are C apart. Groups of images make work for all threads.
 */
export function weightInBlocks(s: BlockSteps, node: Node<'ConvWeight'>): void {
  const [x, y] = node.inputs;
  const { kernel, strides, pads } = node.attributes;
  const [n, c, height, width] = x.shape;
  const [, o, oh, ow] = y.shape;
  const [kh, kw] = kernel;
  const groups = groupsOf(n / s.size, Math.ceil(o / (4 * s.size)) * kh);
  // Exactly the rows and columns that windows reach; what a stride leaves over is cut off.
  const below = (oh - 1) * strides[0] + kh - height - pads[0];
  const beside = (ow - 1) * strides[1] + kw - width - pads[1];
  const rows = height + Math.min(below, 0);
  const columns = pads[1] + width + beside;
  const pixels = channelsLast(s, x, rows, pads[1], columns);
  const images = s.blocks('ReorderInput', [s.reshape(pixels, [1, n, rows, columns * c])], { channels_last: 0 });
  const products = s.blocks('Conv', [images, imagesAsChannels(s, y, groups)], {
    kernel_shape: [oh, ow],
    strides: [1, 1],
    dilations: [strides[0], strides[1] * c],
    pads: [pads[0], 0, Math.max(below, 0), 0],
    group: groups,
  }); // [groups, O/B, kh·kw·C, B]
  const apart = s.reshape(products, [groups, o * kh * kw * c]);
  const ones = s.writer.constant('float32', [1, groups], new Float32Array(groups).fill(1));
  const sum = s.reshape(groups === 1 ? apart : s.step('MatMul', [ones, apart]), [1, o, 1, kh * kw * c]);
  const whole = s.blocks('ReorderOutput', [sum], { channels: o, channels_last: 0 });
  // The transposition comes last: ONNX Runtime would move it there itself, and run the node that it makes after all others.
  s.writer.emit('Transpose', [s.reshape(whole, [o, kh, kw, c])], [s.writer.name(node.outputs[0])], {
    perm: [0, 3, 1, 2],
  });
}

/** The fewest groups of batches that give at least 12 pieces of work. */
function groupsOf(batches: number, pieces: number): number {
  let groups = 1;
  while (groups < batches && (batches % groups !== 0 || groups * pieces < 12)) groups++;
  return groups;
}

/** [N, rows, columns, C] of a map, with zeros for columns before its first and after its last. */
function channelsLast(s: BlockSteps, x: Tensor, rows: number, before: number, columns: number): string {
  const [n, c, height, width] = x.shape;
  const after = columns - before - width;
  if (!s.has(x)) {
    const last = s.step('Transpose', [s.writer.name(x)], { perm: [0, 2, 3, 1] });
    const reach = [0, 0, before, 0, 0, rows - height, after, 0];
    return reach.every(p => p === 0) ? last : s.step('Pad', [last, s.writer.ints(reach)]);
  }
  // One more row of zeros in each image, then rows of B channels in their new order: gathering runs in threads, transposing
  // does not.
  const blocks = c / s.size;
  const flat = s.reshape(s.inBlocks(x), [n, blocks * height * width, s.size]);
  const zeros = before > 0 || after > 0;
  const from = zeros ? s.step('Pad', [flat, s.writer.ints([0, 0, 0, 0, 1, 0])]) : flat;
  const order = new Int32Array(rows * columns * blocks);
  for (let i = 0; i < order.length; i++) {
    const [block, position] = [i % blocks, Math.floor(i / blocks)];
    const [row, column] = [Math.floor(position / columns), (position % columns) - before];
    const inside = column >= 0 && column < width;
    order[i] = inside ? (block * height + row) * width + column : blocks * height * width;
  }
  return s.step('Gather', [from, s.writer.constant('int32', [order.length], order)], { axis: 1 });
}

/** A map [N, O, H, W] as a kernel [groups·O, N/groups, H, W] in blocks. */
function imagesAsChannels(s: BlockSteps, y: Tensor, groups: number): string {
  const [n, o, h, w] = y.shape;
  const [b, blocks, area] = [s.size, o / s.size, h * w];
  const images = n / groups;
  const order = new Int32Array(images * blocks * area);
  for (let i = 0; i < order.length; i++) {
    // Of [O/B, images/B, H·W, B] the entry that lies at [image, O/B, H·W].
    const [within, position] = [i % b, Math.floor(i / b) % area];
    const [batch, block] = [Math.floor(i / (b * area)) % (images / b), Math.floor(i / (area * images))];
    order[i] = ((batch * b + within) * blocks + block) * area + position;
  }
  const flat = s.reshape(s.inBlocks(y), [groups, order.length, b]);
  const turned = s.step('Gather', [flat, s.writer.constant('int32', [order.length], order)], { axis: 1 });
  return s.reshape(turned, [groups * o, images, h, w]);
}
