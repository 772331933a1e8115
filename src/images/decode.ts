/** From a file or its bytes to 8-bit RGB, as Pillow's `exif_transpose(Image.open(f)).convert('RGB')` gives it. */
import { readFile, stat } from 'node:fs';
import { promisify } from 'node:util';
import sharp, { type Metadata, type Sharp, type SharpOptions } from 'sharp';
import { messageOf, S3aError } from '../errors.ts';
import { checkSize, MAX_PIXELS, newImage, type Rect, type RgbImage } from './image.ts';
import { decodeJpeg, type Part } from './jpeg/decode.ts';
import { type JpegFrame, readHeader } from './jpeg/header.ts';
import { jpegSize } from './jpeg/segments.ts';
import { sniff } from './sniff.ts';

export interface DecodeOptions {
  /** Largest width × height, compared with the file's header before a pixel is decoded; default {@link MAX_PIXELS}. */
  maxPixels?: number;
}

// A small file takes half as long this way as by node:fs/promises.
const [status, contents] = [promisify(stat), promisify(readFile)];

/** Largest file read into memory, in bytes. */
const MAX_BYTES = 2 ** 30;

/**
 * Decodes JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP into `[height, width, 3]` of 8 bits.
 *
 * - The EXIF orientation is applied. Embedded colour profiles are not, as in Pillow.
 * - Alpha is dropped, not blended (`convert('RGB')`): a transparent pixel shows the colour stored beneath it. (GIF
 *   alone has black there, since libvips does not tell which colour it was.)
 * - Grey and palette become RGB; CMYK becomes (255 − C)(255 − K)/255 as in Pillow, without a profile.
 * - Of 16 bits the high 8 are kept. (Pillow does the same for colour but saturates 16-bit *grey*, a known defect: such
 *   an image would come out nearly white. Here it comes out right.)
 * - Of an animation, the first frame.
 *
 * Pixels equal Pillow's but for lossy AVIF, whose half-resolution colour libheif enlarges in another way.
 *
 * Memory: the file's bytes, plus 3 bytes a pixel (4 for CMYK): 300 MB for 100 megapixels, 537 MB at the default limit. A plain
 * JPEG file takes twice as much, once in the kernels' memory; the loader does without the copy.
 *
 * @throws S3aError `BAD_IMAGE`, one line with the reason, for everything that is not a whole, readable image: an empty
 * file, text, SVG, a truncated file, a folder or pipe, a file that may not be read, or more than `maxPixels` pixels.
 */
export async function decodeImage(source: string | Uint8Array, options: DecodeOptions = {}): Promise<RgbImage> {
  const isPath = typeof source === 'string';
  const image = await openImage(isPath ? await readImage(source) : source, isPath ? source : 'image', options);
  if (!isPlain(image)) return image;
  const part = decodePart(image, { x: 0, y: 0, width: image.width, height: image.height });
  const { width, height } = image;
  return part ? { data: part.data.slice(), width, height } : decodeWhole(image);
}

/** A JPEG file that this room may decode itself, in part if only a part is wanted. */
export interface PlainJpeg {
  width: number;
  height: number;
  bytes: Uint8Array;
  frame: JpegFrame;
  path: string;
}

/** Whether an opened image is still to be decoded. */
export function isPlain(image: RgbImage | PlainJpeg): image is PlainJpeg {
  return 'frame' in image;
}

/** The bytes of an image file; throws as {@link decodeImage}. */
export function readImage(path: string): Promise<Uint8Array> {
  return badImage(path, () => readImageFile(path));
}

/**
 * Decodes the bytes of the file at a path as {@link decodeImage} does, but leaves a JPEG file that looks plain to
 * {@link decodePart}.
 */
export async function openImage(
  bytes: Uint8Array,
  path: string,
  { maxPixels = MAX_PIXELS }: DecodeOptions = {},
): Promise<RgbImage | PlainJpeg> {
  return badImage(path, async () => {
    const format = sniff(bytes);
    if (format === 'bmp') return (await import('./bmp.ts')).decodeBmp(bytes, maxPixels);
    const frame = format === 'jpeg' ? readHeader(bytes) : undefined;
    if (frame) {
      const { width, height } = frame;
      checkSize(width, height, maxPixels);
      return { width, height, bytes, frame, path };
    }
    const size = format === 'jpeg' ? jpegSize(bytes) : undefined;
    if (size?.channels !== 1 && size?.channels !== 3) return decodeWithSharp(bytes, maxPixels);
    checkSize(size.width, size.height, maxPixels);
    return fromRgb(sharp(bytes, OPTIONS).autoOrient());
  });
}

/**
 * The pixels in `wanted`, and may be some around; undefined where the file is not as plain as it looks and
 * {@link decodeWhole} has to see to it.
 */
export function decodePart({ bytes, frame }: PlainJpeg, wanted: Rect): Part | undefined {
  return decodeJpeg(bytes, frame, wanted);
}

/** Decodes with libvips, which says what is wrong with a damaged file; throws as {@link decodeImage}. */
export function decodeWhole({ bytes, path }: PlainJpeg): Promise<RgbImage> {
  return badImage(path, () => fromRgb(sharp(bytes, OPTIONS).autoOrient()));
}

/** Runs `work`; whatever it throws becomes a `BAD_IMAGE`. */
async function badImage<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const reason = error instanceof S3aError ? error.message : reasonOf(error);
    const hint = 'Replace or remove the file; every other image is still used.';
    throw new S3aError('BAD_IMAGE', `${printable(path)}: ${reason}`, hint, { cause: error });
  }
}

// `error`, not `warning`: Pillow, too, reads on over what libjpeg and libpng merely warn about.
const OPTIONS: SharpOptions = { failOn: 'error', limitInputPixels: false, ignoreIcc: true, sequentialRead: true };

async function decodeWithSharp(bytes: Uint8Array, maxPixels: number): Promise<RgbImage> {
  const metadata = await sharp(bytes, OPTIONS).metadata();
  const height = metadata.pageHeight ?? metadata.height;
  checkSize(metadata.width, height, maxPixels);
  const pixels = sharp(bytes, OPTIONS).autoOrient();
  return metadata.space === 'cmyk' ? fromCmyk(pixels, metadata) : fromRgb(pixels);
}

async function fromRgb(pixels: Sharp): Promise<RgbImage> {
  const { data, info } = await pixels.removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new S3aError('BAD_IMAGE', `${info.channels} channels instead of 3`);
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.length), width: info.width, height: info.height };
}

/** Pillow's cmyk2rgb, which needs the four inks themselves. */
async function fromCmyk(pixels: Sharp, { channels }: Metadata): Promise<RgbImage> {
  const inks = pixels.pipelineColourspace('cmyk').toColourspace('cmyk');
  const { data, info } = await inks.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  if (info.channels < 4) throw new S3aError('BAD_IMAGE', `CMYK with ${channels} channels instead of 4`);
  const out = newImage(info.width, info.height);
  for (let from = 0, to = 0; to < out.data.length; from += info.channels) {
    const light = 255 - data[from + 3];
    for (let c = 0; c < 3; c++) {
      const product = data[from + c] * light + 128;
      out.data[to++] = light - (((product >> 8) + product) >> 8);
    }
  }
  return out;
}

async function readImageFile(path: string): Promise<Uint8Array> {
  const info = await status(path);
  // A named pipe would block the opening for ever, and a device might never end.
  if (!info.isFile()) throw new S3aError('BAD_IMAGE', info.isDirectory() ? 'a folder' : 'not a regular file');
  if (info.size > MAX_BYTES) throw new S3aError('BAD_IMAGE', `${info.size} bytes, over the limit of ${MAX_BYTES}`);
  return contents(path);
}

/** What libvips and the file system say, shortened to what the reader needs. */
function reasonOf(error: unknown): string {
  const text = inOneLine(messageOf(error));
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return 'no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read (permission denied)';
  if (/premature end|unexpected end|truncat|not enough|too short|out of data|read error/i.test(text)) {
    return `truncated or damaged (${text})`;
  }
  return `cannot be decoded (${text})`;
}

/** libvips repeats itself, and tells of every step back that it takes in a file. */
function inOneLine(text: string): string {
  const said = text.replace(/source: bad seek to \d+ ?/g, '').trim();
  return said.length > 160 ? `${said.slice(0, 160)}…` : said;
}

/** A path on one line, whatever its name holds. */
function printable(path: string): string {
  return path.replace(/\p{Cc}/gu, c => JSON.stringify(c).slice(1, -1));
}
