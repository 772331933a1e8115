/** The way of an image through the resize kernel: weights in its form, source rows in strips, the result copied out. */
import { S3aError } from '../errors.ts';
import { checkSize, newImage, type Rect, type RgbImage } from './image.ts';
import { COLUMN_TAPS, type ResizeKernel, ROW_TAPS, resizeKernel, SPLIT } from './resize-kernel.ts';

/** For every output pixel: its first source pixel, the number of them, and `stride` fixed-point weights. */
export interface Weights {
  first: Int32Array;
  count: Int32Array;
  values: Int32Array;
  stride: number;
}

/** Bytes behind every area that vectors may touch without using what is there. */
const SLACK = 32;

const WORD = 8;

/** Bytes of source rows that are copied at once, so that they are still in the cache when they are read. */
const STRIP = 2 ** 18;

/** The bits of a weight's lower half; a constant, since a power is computed anew each time. */
const LOW = 2 ** SPLIT - 1;

/** Weights as the kernel reads them: where each output pixel begins, and its taps, filled up with zeros to whole groups. */
interface Packed {
  readonly firsts: Int32Array;
  /** For each two taps their high halves, then their low ones. */
  readonly halves: Int16Array;
  /** Taps of an output pixel. */
  readonly taps: number;
}

function pack({ first, count, values, stride }: Weights, group: number, origin: number, bytes: number): Packed {
  const taps = Math.ceil(count.reduce((a, b) => Math.max(a, b)) / group) * group;
  const halves = new Int16Array(2 * taps * first.length);
  for (let i = 0; i < first.length; i++) {
    for (let k = 0; k < count[i]; k++) {
      const value = values[i * stride + k];
      const at = 2 * (i * taps + k) - (k % 2);
      halves[at] = value >> SPLIT;
      halves[at + 2] = value & LOW;
    }
  }
  return { firsts: first.map(pixel => (pixel - origin) * bytes), halves, taps };
}

/**
 * Resamples the columns, then the rows of what lies in `region`; without weights of columns or rows, these stay as they are,
 * and of them those in `window` are kept. The result is [window.height, window.width, 3].
 */
export function resample(image: RgbImage, region: Rect, window: Rect, columns?: Weights, rows?: Weights): RgbImage {
  const { x, y, width, height } = window;
  const [left, right] = columns ? rangeOf(columns) : [x, x + width];
  const [top, bottom] = rows ? rangeOf(rows) : [y, y + height];
  checkSize(width, bottom - top);
  checkRead(image, { x: region.x + left, y: region.y + top, width: right - left, height: bottom - top });
  checkSize(width, height);
  const length = 3 * width;
  // One byte more, since the fourth byte of a row's last pixel must not reach into the row below.
  const [sourceLength, bandStride] = [3 * (right - left), length + 1];
  // Rows keep their alignment to words: the bytes of shared memory are copied one by one where it changes.
  const sourceStride = sourceLength + ((3 * (image.width - right + left)) % WORD);
  const across = columns && pack(columns, ROW_TAPS, left, 3);
  const down = rows && pack(rows, COLUMN_TAPS, top, bandStride);
  const stripRows = Math.min(bottom - top + 1, Math.max(2, 2 * Math.floor(STRIP / sourceStride / 2)));

  let size = 0;
  const area = (bytes: number): number => {
    const at = size;
    size += Math.ceil((bytes + SLACK) / 16) * 16;
    return at;
  };
  const strip = across ? area(WORD + stripRows * sourceStride + 3 * across.taps) : 0;
  const band = area((bottom - top + 1 + (down?.taps ?? 0)) * bandStride);
  const out = down ? area(height * length) : band;
  const [firsts, weights] = across ? [area(4 * width), area(across.halves.byteLength)] : [0, 0];
  const [rowFirsts, rowWeights] = down ? [area(4 * height), area(down.halves.byteLength)] : [0, 0];
  const kernel = resizeKernel(size);
  const bytes = new Uint8Array(kernel.memory.buffer);

  const source = (row: number): Rows => ({
    bytes: image.data,
    at: 3 * ((region.y + row) * image.width + region.x + left),
    stride: 3 * image.width,
  });
  if (across) {
    put(kernel, firsts, across.firsts);
    put(kernel, weights, across.halves);
    for (let row = top; row < bottom; row += stripRows) {
      const count = Math.min(stripRows, bottom - row);
      const from = source(row);
      const at = strip + ((image.data.byteOffset + from.at) % WORD);
      copyRows(from, { bytes, at, stride: sourceStride }, sourceLength, count);
      const to = band + (row - top) * bandStride;
      const end = to + count * bandStride;
      kernel.alongRows(at, sourceStride, to, bandStride, end, firsts, firsts + 4 * width, weights, 4 * across.taps);
    }
  } else {
    copyRows(source(top), { bytes, at: band, stride: bandStride }, length, bottom - top);
  }
  if (down) {
    put(kernel, rowFirsts, down.firsts);
    put(kernel, rowWeights, down.halves);
    kernel.downColumns(band, bandStride, out, length, out + height * length, rowFirsts, rowWeights, 4 * down.taps);
  }
  const result = newImage(width, height);
  const made = down ? { bytes, at: out, stride: length } : { bytes, at: band, stride: bandStride };
  copyRows(made, { bytes: result.data, at: 0, stride: length }, length, height);
  return result;
}

/** What is read of a region has to be there. */
function checkRead(image: RgbImage, { x, y, width, height }: Rect): void {
  if (x >= 0 && y >= 0 && x + width <= image.width && y + height <= image.height) return;
  const region = `region ${width}×${height} at (${x}, ${y})`;
  throw new S3aError('SHAPE', `resize: ${region} does not lie in the image of ${image.width}×${image.height}`);
}

function rangeOf({ first, count }: Weights): [number, number] {
  return [first[0], first[first.length - 1] + count[count.length - 1]];
}

function put(kernel: ResizeKernel, at: number, { buffer, byteOffset, byteLength }: Int32Array | Int16Array): void {
  new Uint8Array(kernel.memory.buffer, at).set(new Uint8Array(buffer, byteOffset, byteLength));
}

/** Rows of bytes, each `stride` behind the one before. */
interface Rows {
  bytes: Uint8Array;
  at: number;
  stride: number;
}

/** Copies the first `length` bytes of `count` rows. */
function copyRows(from: Rows, to: Rows, length: number, count: number): void {
  if (from.stride === length && to.stride === length) {
    to.bytes.set(from.bytes.subarray(from.at, from.at + count * length), to.at);
    return;
  }
  for (let row = 0; row < count; row++) {
    const start = from.at + row * from.stride;
    to.bytes.set(from.bytes.subarray(start, start + length), to.at + row * to.stride);
  }
}
