/** Pillow's resampling of 8-bit images, bit for bit: separable, antialiased, in 22-bit fixed point. */
import { S3aError } from '../errors.ts';
import type { Rect, RgbImage } from './image.ts';
import { resample, type Weights } from './resample.ts';
import { PRECISION } from './resize-kernel.ts';

export type Filter = 'bicubic' | 'bilinear';

export interface ResizeOptions {
  /** Default bicubic (a = −0.5, as Pillow has it). */
  filter?: Filter;
  /** Part of the image to resize, as if it had been cut out before; the default is all of it. */
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
 * @throws S3aError `SHAPE` for a side below 1 or a box or window out of bounds, `TOO_LARGE` for a result too large.
 */
export function resize(image: RgbImage, width: number, height: number, options: ResizeOptions = {}): RgbImage {
  const { filter = 'bicubic', region = { x: 0, y: 0, width: image.width, height: image.height } } = options;
  const { box = [0, 0, region.width, region.height], window = { x: 0, y: 0, width, height } } = options;
  checkRect('region', region, image, 'the image');
  checkBox(region, box);
  checkRect('window', window, { width, height }, 'a result');
  // Pillow's own exception: very tall images are shrunk vertically first, which rounds differently.
  if (region.height > region.width * 100 && height < region.height) {
    const rows: Rect = { x: 0, y: window.y, width: region.width, height: window.height };
    const low = pass(image, region, region.width, height, filter, [0, box[1], region.width, box[3]], rows);
    const columns: Rect = { x: window.x, y: 0, width: window.width, height: window.height };
    const all: Rect = { x: 0, y: 0, width: low.width, height: low.height };
    return pass(low, all, width, window.height, filter, [box[0], 0, box[2], window.height], columns);
  }
  return pass(image, region, width, height, filter, box, window);
}

/**
 * The size at which the short side is `size` and the long side ⌊size · long / short⌋, as torchvision and transformers
 * compute it: [width, height].
 */
export function shortSideSize(width: number, height: number, size: number): [number, number] {
  const long = Math.floor((size * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [size, long] : [long, size];
}

/** Resizes so that the short side becomes `size` (see {@link shortSideSize}); throws as {@link resize}. */
export function resizeShortSide(image: RgbImage, size: number, filter: Filter = 'bicubic'): RgbImage {
  const [width, height] = shortSideSize(image.width, image.height, size);
  return resize(image, width, height, { filter });
}

function checkBox({ width, height }: Rect, [left, top, right, bottom]: readonly number[]): void {
  if (left >= 0 && top >= 0 && right <= width && bottom <= height && left < right && top < bottom) return;
  const box = [left, top, right, bottom].join(', ');
  throw new S3aError('SHAPE', `resize: box [${box}] does not lie in the image of ${width}×${height}`);
}

function checkRect(name: string, { x, y, width, height }: Rect, outer: { width: number; height: number }, of: string) {
  const inside = x >= 0 && y >= 0 && x + width <= outer.width && y + height <= outer.height;
  if ([x, y, width, height].every(Number.isInteger) && width > 0 && height > 0 && inside) return;
  const where = `${width}×${height} at (${x}, ${y})`;
  throw new S3aError('SHAPE', `resize: ${name} ${where} does not lie in ${of} of ${outer.width}×${outer.height}`);
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
