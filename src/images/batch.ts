/** One batch of views from files: the work a loader hands to its threads. */
import { messageOf, S3aError } from '../errors.ts';
import { random } from '../random.ts';
import type { Rgb } from './affine.ts';
import { expected, type Item, openInOrder } from './ahead.ts';
import { fillColor, normalise, planView, renderView, type View, type ViewGeometry, type ViewPlan } from './augment.ts';
import { decodePart, decodeWhole, isPlain, type PlainJpeg } from './decode.ts';
import type { Rect, RgbImage } from './image.ts';
import { sourceRect } from './resize.ts';

/** What does not change from batch to batch. */
export interface BatchSettings extends ViewGeometry {
  /** Side of the square views, in pixels. */
  size: number;
  mean: Rgb;
  std: Rgb;
  maxPixels?: number;
}

export interface BatchTask {
  items: Item[];
  views: View[];
  seed: number;
  epoch: number;
  /** Give back decoded images in shared memory, to be kept. */
  keep: boolean;
}

export interface Failure {
  index: number;
  reason: string;
}

/**
 * A loaded batch. An image that cannot be read is in `failed` and nowhere else: `indices` names the B images there are,
 * in the order asked for, row b of every view belongs to `indices[b]`, and B is smaller by the number of failures (it
 * may be 0).
 */
export interface Batch<V extends View = View> {
  indices: Int32Array<ArrayBuffer>;
  /** For each view asked for: normalised pixels [B, 3, size, size]. */
  views: Record<V, Float32Array<ArrayBuffer>>;
  failed: Failure[];
}

export interface BatchResult extends Batch {
  /** Newly decoded images in shared memory, when `keep` was asked for. */
  decoded: { index: number; image: RgbImage }[];
}

/**
 * Decodes the images of a task and makes their views.
 *
 * Of a plain JPEG file only the part is decoded that the views are made of. Every random draw comes from (seed, 'augment',
 * view, epoch, index), so neither batch, order nor thread matters.
 */
export async function makeBatch(settings: BatchSettings, task: BatchTask): Promise<BatchResult> {
  const { size, mean, std, maxPixels } = settings;
  const fill = fillColor(mean);
  const length = 3 * size * size;
  const full = task.views.map(view => [view, unwritten(task.items.length * length)] as const);
  const indices: number[] = [];
  const failed: Failure[] = [];
  const decoded: BatchResult['decoded'] = [];

  for await (const { index, source, image } of openInOrder(task.items, maxPixels)) {
    const keep = task.keep && typeof source === 'string' ? index : undefined;
    let made = image instanceof S3aError ? image : attempt(() => write(image, index, keep));
    if (made === false) {
      const whole = await decodeWhole(image as PlainJpeg).catch(expected);
      made = whole instanceof S3aError ? whole : attempt(() => write(whole, index, keep));
    }
    if (made instanceof S3aError) failed.push({ index, reason: messageOf(made) });
    else indices.push(index);
  }

  /** Writes the views of an image; false where a file that looked plain is not. */
  function write(image: RgbImage | PlainJpeg, index: number, keep: number | undefined): boolean {
    const plans = task.views.map(view =>
      planView(image, view, size, random(task.seed, 'augment', view, task.epoch, index), settings),
    );
    const isPart = keep === undefined && plans.length > 0;
    const pixels = pixelsOf(image, isPart ? around(plans) : { x: 0, y: 0, width: image.width, height: image.height });
    if (!pixels) return false;
    if (keep !== undefined) decoded.push({ index: keep, image: shared(pixels) });
    for (const [n, [, values]] of full.entries()) {
      const row = values.subarray(indices.length * length, (indices.length + 1) * length);
      normalise([renderView(pixels, plans[n], fill, pixels)], mean, std, row);
    }
    return true;
  }

  const rows = full.map(([view, values]) => [
    view,
    failed.length > 0 ? values.slice(0, indices.length * length) : values,
  ]);
  return { indices: Int32Array.from(indices), views: Object.fromEntries(rows), failed, decoded };
}

/** The pixels in `wanted`, and may be some around, with the place of the first; undefined as {@link decodePart} gives it. */
function pixelsOf(image: RgbImage | PlainJpeg, wanted: Rect): (RgbImage & { x: number; y: number }) | undefined {
  if (!isPlain(image)) return { ...image, x: 0, y: 0 };
  const part = decodePart(image, wanted);
  return part && { ...part.rect, data: part.data };
}

/** The smallest rectangle that holds what every plan needs. */
function around(plans: readonly ViewPlan[]): Rect {
  const needed = plans.map(({ width, height, options }) => sourceRect(width, height, options));
  const [x, y] = [Math.min(...needed.map(rect => rect.x)), Math.min(...needed.map(rect => rect.y))];
  const right = Math.max(...needed.map(rect => rect.x + rect.width));
  const bottom = Math.max(...needed.map(rect => rect.y + rect.height));
  return { x, y, width: right - x, height: bottom - y };
}

/** Memory that holds anything: all of a batch is written, or cut off. */
function unwritten(length: number): Float32Array<ArrayBuffer> {
  return new Float32Array(Buffer.allocUnsafeSlow(4 * length).buffer);
}

function attempt<T>(work: () => T): T | S3aError {
  try {
    return work();
  } catch (error) {
    return expected(error);
  }
}

function shared({ data, width, height }: RgbImage): RgbImage {
  const copy = new Uint8Array(new SharedArrayBuffer(data.length));
  copy.set(data);
  return { data: copy, width, height };
}
