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
  const images = s.reshape(imagesInBlocks(s, x, rows, pads[1], columns), [1, n, rows, columns * c]);
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
  const whole = s.blocks('ReorderOutput', [sum], { channels: o, channels_last: 0 }); // [O, kh·kw, C]
  const name = s.writer.name(node.outputs[0]);
  if (c % s.size !== 0) {
    // The transposition comes last: ONNX Runtime would move it there itself, and run the node that it makes after all others.
    s.writer.emit('Transpose', [s.reshape(whole, [o, kh, kw, c])], [name], { perm: [0, 3, 1, 2] });
    return;
  }
  // A row of kh·kw taps is a map of C channels, as blocks have them.
  const [blocks, area] = [c / s.size, kh * kw];
  const order = Int32Array.from({ length: blocks * area }, (_, i) => (i % area) * blocks + Math.floor(i / area));
  const maps = s.gather(s.reshape(whole, [o, blocks * area, s.size]), order, 1);
  s.blocks('ReorderOutput', [s.reshape(maps, [o, c, kh, kw])], { channels: c, channels_last: 0 }, name);
}

/** The fewest groups of batches that give at least 12 pieces of work. */
function groupsOf(batches: number, pieces: number): number {
  let groups = 1;
  while (groups < batches && (batches % groups !== 0 || groups * pieces < 12)) groups++;
  return groups;
}

/**
 * A map as [N/B, rows, columns, C, B], with zeros for columns before its first and after its last. What lies side by side in x, one
 * channel or a block of them, is moved as a whole.
 */
function imagesInBlocks(s: BlockSteps, x: Tensor, rows: number, before: number, columns: number): string {
  const [n, c, height, width] = x.shape;
  const beside = s.has(x) ? s.size : 1;
  const from = s.has(x) ? s.inBlocks(x) : s.writer.name(x);
  const flat = s.reshape(from, [1, n, 1, c * height * width]);
  const images = s.blocks('ReorderInput', [flat], { channels_last: 0 });
  const [batches, blocks, area] = [n / s.size, c / beside, height * width];
  const pieces = s.reshape(images, [batches, blocks * area, beside * s.size]);
  const zeros = s.writer.constant('float32', [batches, 1, beside * s.size], new Float32Array(n * beside));
  const order = Int32Array.from({ length: rows * columns * blocks }, (_, i) => {
    const [block, position] = [i % blocks, Math.floor(i / blocks)];
    const [row, column] = [Math.floor(position / columns), (position % columns) - before];
    return column >= 0 && column < width ? block * area + row * width + column : blocks * area;
  });
  const padded = before > 0 || before + width < columns ? s.step('Concat', [pieces, zeros], { axis: 1 }) : pieces;
  return s.gather(padded, order, 1);
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
  return s.reshape(s.gather(flat, order, 1), [groups * o, images, h, w]);
}
