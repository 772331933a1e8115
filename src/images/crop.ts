/** Whole pixels: cut out, mirrored. */
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
