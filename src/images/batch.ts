/** One batch of views from files: the work a loader hands to its threads. */
import { messageOf, S3aError } from '../errors.ts';
import { random } from '../random.ts';
import type { Rgb } from './affine.ts';
import { fillColor, makeView, normalise, type View, type ViewGeometry } from './augment.ts';
import { decodeImage } from './decode.ts';
import type { RgbImage } from './image.ts';

/** What does not change from batch to batch. */
export interface BatchSettings extends ViewGeometry {
  /** Side of the square views, in pixels. */
  size: number;
  mean: Rgb;
  std: Rgb;
  maxPixels?: number;
}

/** One image to load: its index in the data set, and its path or, when it was kept, its pixels. */
export interface Item {
  index: number;
  source: string | RgbImage;
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
 * Decodes the images of a task and makes their views, reading one file ahead.
 *
 * Every random draw comes from (seed, 'augment', view, epoch, index), so neither batch, order nor thread matters.
 */
export async function makeBatch(settings: BatchSettings, task: BatchTask): Promise<BatchResult> {
  const { size, mean, std, maxPixels } = settings;
  const fill = fillColor(mean);
  const length = 3 * size * size;
  const full = task.views.map(view => [view, unwritten(task.items.length * length)] as const);
  const indices: number[] = [];
  const failed: Failure[] = [];
  const decoded: BatchResult['decoded'] = [];
  const load = async ({ source }: Item): Promise<RgbImage | S3aError> =>
    typeof source === 'string' ? decodeImage(source, { maxPixels }).catch(expected) : source;

  let ahead = task.items.length > 0 ? load(task.items[0]) : undefined;
  for (let i = 0; i < task.items.length; i++) {
    const { index, source } = task.items[i];
    const loaded = await ahead!;
    ahead = i + 1 < task.items.length ? load(task.items[i + 1]) : undefined;
    const made = loaded instanceof S3aError ? loaded : attempt(() => write(loaded, index));
    if (made instanceof S3aError) failed.push({ index, reason: messageOf(made) });
    else indices.push(index);
    if (task.keep && typeof source === 'string' && !(loaded instanceof S3aError)) {
      decoded.push({ index, image: shared(loaded) });
    }
  }

  function write(image: RgbImage, index: number): void {
    for (const [view, values] of full) {
      const draws = random(task.seed, 'augment', view, task.epoch, index);
      const row = values.subarray(indices.length * length, (indices.length + 1) * length);
      normalise([makeView(image, view, size, draws, fill, settings)], mean, std, row);
    }
  }

  const rows = full.map(([view, values]) => [
    view,
    failed.length > 0 ? values.slice(0, indices.length * length) : values,
  ]);
  return { indices: Int32Array.from(indices), views: Object.fromEntries(rows), failed, decoded };
}

/** Memory that holds anything: all of a batch is written, or cut off. */
function unwritten(length: number): Float32Array<ArrayBuffer> {
  return new Float32Array(Buffer.allocUnsafeSlow(4 * length).buffer);
}

/** Errors of an image are results here; anything else is a defect and is thrown on. */
function expected(error: unknown): S3aError {
  if (error instanceof S3aError) return error;
  throw error;
}

function attempt(work: () => void): S3aError | undefined {
  try {
    work();
  } catch (error) {
    return expected(error);
  }
}

function shared({ data, width, height }: RgbImage): RgbImage {
  const copy = new Uint8Array(new SharedArrayBuffer(data.length));
  copy.set(data);
  return { data: copy, width, height };
}
