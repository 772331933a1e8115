/** Convolutions of small maps in blocks of channels: some images side by side, so that there are no short rows. */
import type { BlockSteps } from './conv-block-steps.ts';
import type { AttributeValue } from './proto.ts';
import { type Shape, sizeOf } from './shape.ts';

/** A convolution in blocks that is not written yet. */
export interface BlockedConvolution {
  /** The map's shape, [N, C, H, W]. */
  readonly from: Shape;
  /** Names of the map, the kernel, the bias (or '') and what is added. */
  readonly inputs: readonly string[];
  readonly strides: readonly number[];
  /** Rows and columns of zeros before the first, then after the last. */
  readonly pads: readonly number[];
  readonly kernel: readonly number[];
  readonly activation?: string;
}

/**
 * Rows up to this length are too short for ONNX Runtime's kernel, which takes six positions at once and those at a border one by one.
 * With rows of six the reordering takes more than it gains.
 */
const SHORT = 4;

/** Writes a convolution to a map of the given shape and returns the name of its output. */
export function writeConvolution(s: BlockSteps, conv: BlockedConvolution, shape: Shape): string {
  const { from, inputs, strides, pads, kernel, activation } = conv;
  const attributes: Record<string, AttributeValue> = { kernel_shape: kernel, strides, group: 1 };
  if (activation) attributes.activation = activation;
  const [n, c, , width] = from;
  const short = width <= SHORT && kernel[1] > 1 && strides[1] === 1;
  if (!short || n % s.size !== 0 || c % s.size !== 0) return s.blocks('Conv', inputs, { ...attributes, pads });
  const [map, weight, bias = '', added] = inputs;
  const columns = pads[1] + width + pads[3];
  const operands = [sideBySide(s, map, from, pads[1], columns), weight, bias];
  if (added !== undefined) operands.push(sideBySide(s, added, shape, 0, shape[3]));
  const given = operands.at(-1) === '' ? operands.slice(0, -1) : operands;
  const products = s.blocks('Conv', given, {
    ...attributes,
    dilations: [1, s.size],
    pads: [pads[0], 0, pads[2], 0],
  });
  return apart(s, products, shape);
}

/** A map [N, C, H, W] in blocks as [N/B, C/B, H, columns·B, B], images inside columns, with columns of zeros around. */
function sideBySide(s: BlockSteps, map: string, shape: Shape, before: number, columns: number): string {
  const [n, c, height, width] = shape;
  const [b, blocks] = [s.size, c / s.size];
  const rows = b * blocks * height * width;
  const flat = s.reshape(map, [n / b, rows, b]);
  const zeros = (): string => s.writer.constant('float32', [n / b, 1, b], new Float32Array(n));
  const from = columns > width ? s.step('Concat', [flat, zeros()], { axis: 1 }) : flat;
  const order = Int32Array.from({ length: blocks * height * columns * b }, (_, i) => {
    const [image, column] = [i % b, (Math.floor(i / b) % columns) - before];
    const line = Math.floor(i / (b * columns)); // block and row
    const inside = column >= 0 && column < width;
    return inside ? (image * blocks * height + line) * width + column : rows;
  });
  return s.reshape(s.gather(from, order, 1), [n / b, c, height, columns * b]);
}

/** The way back for a map without columns around. */
function apart(s: BlockSteps, map: string, shape: Shape): string {
  const [n, c, height, width] = shape;
  const [b, lines] = [s.size, (c / s.size) * height];
  const order = Int32Array.from({ length: sizeOf(shape) / n }, (_, i) => {
    const [column, line, image] = [i % width, Math.floor(i / width) % lines, Math.floor(i / (width * lines))];
    return (line * width + column) * b + image;
  });
  return s.reshape(s.gather(s.reshape(map, [n / b, order.length, b]), order, 1), shape);
}
