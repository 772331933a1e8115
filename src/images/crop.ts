/** Whole-pixel cuts: crop, centre crop, mirror. */
import { S3aError } from '../errors.ts';
import { newImage, type Rect, type RgbImage } from './image.ts';

/**
 * The rectangle cut out, [rect.height, rect.width, 3].
 *
 * @throws S3aError `SHAPE` when it does not lie in the image.
 */
export function crop(image: RgbImage, { x, y, width, height }: Rect): RgbImage {
  if (![x, y].every(Number.isInteger) || x < 0 || y < 0 || x + width > image.width || y + height > image.height) {
    const rect = `${width}×${height} at (${x}, ${y})`;
    throw new S3aError('SHAPE', `crop: ${rect} does not lie in the image of ${image.width}×${image.height}`);
  }
  const out = newImage(width, height);
  for (let row = 0; row < height; row++) {
    const start = ((y + row) * image.width + x) * 3;
    out.data.set(image.data.subarray(start, start + width * 3), row * width * 3);
  }
  return out;
}

/**
 * The `size` × `size` middle of the image, black around it where the image is smaller.
 *
 * As transformers' `center_crop`: of an odd margin the smaller half lies left and top (torchvision's rounds half to
 * even instead, so that it may lie one pixel further right); of an odd padding the larger half.
 */
export function centerCrop(image: RgbImage, size: number): RgbImage {
  const left = Math.floor((image.width - size) / 2);
  const top = Math.floor((image.height - size) / 2);
  if (left >= 0 && top >= 0) return crop(image, { x: left, y: top, width: size, height: size });
  const out = newImage(size, size);
  const x = Math.max(0, left);
  const width = Math.min(size, image.width);
  const y = Math.max(0, top);
  const height = Math.min(size, image.height);
  const part = crop(image, { x, y, width, height });
  for (let row = 0; row < height; row++) {
    const to = ((Math.max(0, -top) + row) * size + Math.max(0, -left)) * 3;
    out.data.set(part.data.subarray(row * width * 3, (row + 1) * width * 3), to);
  }
  return out;
}

/** The image mirrored left to right. */
export function flip(image: RgbImage): RgbImage {
  const { data, width, height } = image;
  const mirrored = new Uint8Array(data.length);
  const row = 3 * width;
  for (let end = row; end <= data.length; end += row) {
    for (let to = end - row, from = end - 3; to < end; to += 3, from -= 3) {
      mirrored[to] = data[from];
      mirrored[to + 1] = data[from + 1];
      mirrored[to + 2] = data[from + 2];
    }
  }
  return { data: mirrored, width, height };
}
