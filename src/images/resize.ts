/** Pillow's resampling of 8-bit images, bit for bit: separable, antialiased, in 22-bit fixed point. */
import { S3aError } from '../errors.ts';
import type { Rect, RgbImage } from './image.ts';
import { resample, type Weights } from './resample.ts';
import { PRECISION } from './resize-kernel.ts';

export type Filter = 'bicubic' | 'bilinear';

export interface ResizeOptions {
  /** Default bicubic (a = −0.5, as Pillow has it). */
  filter?: Filter;
  /**
   * Part of the image to resize, as if it had been cut out before; the default is all of it. It may reach beyond the pixels
   * that are given if none there is needed.
   */
  region?: Rect;
  /** Source region in pixels [left, top, right, bottom], fractions allowed; the default is the whole image. */
  box?: readonly [number, number, number, number];
  /** Part of the result to compute (the rest is neither computed nor allocated); the default is all of it. */
  window?: Rect;
}

const FILTERS: Record<Filter, { support: number; weight: (x: number) => number }> = {
  bilinear: { support: 1, weight: x => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  bicubic: { support: 2, weight: bicubic },
};

function bicubic(signed: number): number {
  const x = Math.abs(signed);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

/**
 * Resizes to `width` × `height`; equal to `PIL.Image.resize((width, height), filter, box)` in every byte.
 *
 * With `window`, returns only that part of the result, [window.height, window.width, 3].
 *
 * @throws S3aError `SHAPE` for a side below 1, a box or window out of bounds, or pixels that are not there, `TOO_LARGE` for a
 * result too large.
 */
export function resize(image: RgbImage, width: number, height: number, options: ResizeOptions = {}): RgbImage {
  const { filter = 'bicubic', region = { x: 0, y: 0, width: image.width, height: image.height } } = options;
  const { box = [0, 0, region.width, region.height], window = { x: 0, y: 0, width, height } } = options;
  if (!isRect(region)) throw new S3aError('SHAPE', `resize: region ${described(region)} is none of whole pixels`);
  checkBox(region, box);
  checkWindow(window, width, height);
  if (isTall(region, height)) {
    const rows: Rect = { x: 0, y: window.y, width: region.width, height: window.height };
    const low = pass(image, region, region.width, height, filter, [0, box[1], region.width, box[3]], rows);
    const columns: Rect = { x: window.x, y: 0, width: window.width, height: window.height };
    const all: Rect = { x: 0, y: 0, width: low.width, height: low.height };
    return pass(low, all, width, window.height, filter, [box[0], 0, box[2], window.height], columns);
  }
  return pass(image, region, width, height, filter, box, window);
}

/** The pixels that {@link resize} needs of a region to make a window of the result, and may be a few around. */
export function sourceRect(
  width: number,
  height: number,
  { filter = 'bicubic', region, window = { x: 0, y: 0, width, height } }: ResizeOptions & { region: Rect },
): Rect {
  const [x, right] = sourceRange(region.width, width, window.x, window.width, filter);
  const [y, bottom] = sourceRange(region.height, height, window.y, window.height, filter);
  if (isTall(region, height)) return region;
  return { x: region.x + x, y: region.y + y, width: right - x, height: bottom - y };
}

function sourceRange(inSize: number, outSize: number, from: number, n: number, filter: Filter): [number, number] {
  if (inSize === outSize) return [from, from + n];
  const scale = inSize / outSize;
  // One more for what rounding may add.
  const support = FILTERS[filter].support * Math.max(scale, 1) + 1;
  const first = Math.floor((from + 0.5) * scale - support);
  return [Math.max(0, first), Math.min(inSize, Math.ceil((from + n - 0.5) * scale + support))];
}

/** Pillow's own exception: very tall images are shrunk vertically first, which rounds differently. */
function isTall(region: Rect, height: number): boolean {
  return region.height > region.width * 100 && height < region.height;
}

/**
 * The size at which the short side is `size` and the long side ⌊size · long / short⌋, as torchvision and transformers
 * compute it: [width, height].
 */
export function shortSideSize(width: number, height: number, size: number): [number, number] {
  const long = Math.floor((size * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [size, long] : [long, size];
}

function checkBox({ width, height }: Rect, [left, top, right, bottom]: readonly number[]): void {
  if (left >= 0 && top >= 0 && right <= width && bottom <= height && left < right && top < bottom) return;
  const box = [left, top, right, bottom].join(', ');
  throw new S3aError('SHAPE', `resize: box [${box}] does not lie in the image of ${width}×${height}`);
}

function isRect({ x, y, width, height }: Rect): boolean {
  return [x, y, width, height].every(Number.isInteger) && width > 0 && height > 0;
}

function described({ x, y, width, height }: Rect): string {
  return `${width}×${height} at (${x}, ${y})`;
}

function checkWindow(window: Rect, width: number, height: number): void {
  const { x, y } = window;
  if (isRect(window) && x >= 0 && y >= 0 && x + window.width <= width && y + window.height <= height) return;
  throw new S3aError('SHAPE', `resize: window ${described(window)} does not lie in a result of ${width}×${height}`);
}

function pass(
  image: RgbImage,
  region: Rect,
  width: number,
  height: number,
  filter: Filter,
  box: readonly [number, number, number, number],
  window: Rect,
): RgbImage {
  const horizontal = width !== region.width || box[0] !== 0 || box[2] !== width;
  const vertical = height !== region.height || box[1] !== 0 || box[3] !== height;
  const rows = vertical ? weights(region.height, box[1], box[3], height, filter, window.y, window.height) : undefined;
  const columns = horizontal ? weights(region.width, box[0], box[2], width, filter, window.x, window.width) : undefined;
  return resample(image, region, window, columns, rows);
}

/** Weights of output pixels `from` … `from + n` (Pillow's precompute_coeffs and normalize_coeffs_8bpc). */
function weights(
  inSize: number,
  start: number,
  end: number,
  outSize: number,
  filter: Filter,
  from: number,
  n: number,
): Weights {
  // Pillow keeps the box in single precision.
  const low = Math.fround(start);
  const scale = Math.fround(Math.fround(end) - low) / outSize;
  const filterScale = Math.max(scale, 1);
  const { support: radius, weight } = FILTERS[filter];
  const support = radius * filterScale;
  const inverse = 1 / filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(n);
  const count = new Int32Array(n);
  const values = new Int32Array(n * stride);
  const exact = new Float64Array(stride);
  for (let i = 0; i < n; i++) {
    const center = low + (from + i + 0.5) * scale;
    const min = Math.max(0, Math.trunc(center - support + 0.5));
    const taps = Math.min(inSize, Math.trunc(center + support + 0.5)) - min;
    let sum = 0;
    for (let k = 0; k < taps; k++) {
      exact[k] = weight((k + min - center + 0.5) * inverse);
      sum += exact[k];
    }
    for (let k = 0; k < taps; k++) {
      const value = (sum === 0 ? exact[k] : exact[k] / sum) * (1 << PRECISION);
      values[i * stride + k] = Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    }
    first[i] = min;
    count[i] = taps;
  }
  return { first, count, values, stride };
}
