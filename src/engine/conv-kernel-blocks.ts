/** Kernels of convolutions in blocks of channels, for the convolution and for its adjoint. */
import type { BlockSteps } from './conv-block-steps.ts';
import type { Tensor } from './graph.ts';

/** [O, C, kh, kw] as [O/B, C/B, kh, kw, B of C, B of O]; fewer channels than a block stay as they are. */
export function kernelInBlocks(s: BlockSteps, weight: Tensor): string {
  const [o, c, kh, kw] = weight.shape;
  const [b, area] = [s.size, kh * kw];
  const flat = s.reshape(s.writer.name(weight), [1, o, 1, c * area]);
  const blocks = s.blocks('ReorderInput', [flat], { channels_last: 0 }); // [O/B, C·kh·kw, B]
  if (c < b || area === 1) return s.reshape(blocks, weight.shape);
  const order = Int32Array.from({ length: c * area }, (_, i) => {
    const [channel, tap, block] = [i % b, Math.floor(i / b) % area, Math.floor(i / (b * area))];
    return (block * b + channel) * area + tap;
  });
  return s.reshape(s.gather(s.reshape(blocks, [o / b, c * area, b]), order, 1), weight.shape);
}

/** The kernel of the adjoint, [C, O, kh, kw], turned by half a circle, in blocks. */
export function flippedKernel(s: BlockSteps, weight: Tensor): string {
  const [o, c, kh, kw] = weight.shape;
  const [b, area] = [s.size, kh * kw];
  const flat = s.reshape(s.writer.name(weight), [o, c, 1, area]);
  const blocks = s.blocks('ReorderInput', [flat], { channels_last: 0 }); // [O, C/B, kh·kw, B]
  const order = Int32Array.from({ length: (o * c * area) / b }, (_, i) => {
    // Of [C/B, O/B, kh·kw, B] the entry that lies at [O, C/B, kh·kw].
    const [channel, tap, block] = [i % b, Math.floor(i / b) % area, Math.floor(i / (b * area))];
    const [from, to] = [block % (o / b), Math.floor(block / (o / b))];
    return ((from * b + channel) * (c / b) + to) * area + area - 1 - tap;
  });
  return s.reshape(s.gather(s.reshape(blocks, [(o * c * area) / b, b]), order, 0), [c, o, kh, kw]);
}
