/** Pillow's affine transform of an 8-bit image with bicubic interpolation and a fill colour, bit for bit. */
import { affineKernel, BORDER } from './affine-kernel.ts';
import type { RgbImage } from './image.ts';

export type Rgb = readonly [number, number, number];

/** [a, b, c, d, e, f]: output pixel (x, y) comes from (a·x + b·y + c, d·x + e·y + f) of the input. */
export type Matrix = readonly [number, number, number, number, number, number];

/**
 * `image.transform(image.size, AFFINE, matrix, BICUBIC, fillcolor=fill)` of Pillow.
 *
 * The order of the double-precision operations is that of Pillow's Geometry.c, so every byte is equal.
 */
export function affine(image: RgbImage, [a, b, c, d, e, f]: Matrix, fill: Rgb): RgbImage {
  const { width, height } = image;
  const stride = 3 * (width + 2 * BORDER);
  const [length, bordered] = [3 * width * height, stride * (height + 2 * BORDER)];
  // Vectors may touch some bytes behind the image.
  const kernel = affineKernel(length + bordered + 32);
  const bytes = new Uint8Array(kernel.memory.buffer);
  withBorder(image, bytes.subarray(length + 4), stride);
  const source = length + 4 + BORDER * (stride + 3);
  const color = fill[0] | (fill[1] << 8) | (fill[2] << 16);
  for (let y = 0; y < height; y++) {
    const to = 3 * y * width;
    kernel.row(to, to + 3 * width, source, stride, color, width, height, a, b * (y + 0.5), c, d, e * (y + 0.5), f);
  }
  return { data: bytes.slice(0, length), width, height };
}

/** Writes the image with its outermost pixels repeated `BORDER` times on every side, in rows of `stride` bytes. */
function withBorder({ data, width, height }: RgbImage, to: Uint8Array, stride: number): void {
  const row = 3 * width;
  for (let y = -BORDER; y < height + BORDER; y++) {
    const from = row * Math.min(Math.max(y, 0), height - 1);
    const at = (y + BORDER) * stride;
    to.set(data.subarray(from, from + row), at + 3 * BORDER);
    for (let i = 0; i < 3 * BORDER; i++) {
      to[at + i] = data[from + (i % 3)];
      to[at + 3 * BORDER + row + i] = data[from + row - 3 + (i % 3)];
    }
  }
}

/** `image.rotate(degrees, BICUBIC, fillcolor=fill)` of Pillow, counter-clockwise; for |degrees| < 90. */
export function rotate(image: RgbImage, degrees: number, fill: Rgb): RgbImage {
  const { width, height } = image;
  const turn = degrees < 0 ? degrees + 360 : degrees;
  if (turn === 0) return { ...image, data: image.data.slice() };
  const angle = -(turn * (Math.PI / 180));
  // Pillow rounds to 15 decimals, which also hides what distinguishes one sine from another.
  const cos = Number(Math.cos(angle).toFixed(15));
  const sin = Number(Math.sin(angle).toFixed(15));
  const negative = Number((-Math.sin(angle)).toFixed(15));
  const c = cos * (-width / 2) + sin * (-height / 2) + width / 2;
  const f = negative * (-width / 2) + cos * (-height / 2) + height / 2;
  return affine(image, [cos, sin, c, negative, cos, f], fill);
}
