/** Batches of normalised views from a list of image files, read ahead, in order, the same whatever the thread count. */
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import type { View } from './augment.ts';
import type { Batch, BatchResult, BatchSettings, BatchTask } from './batch.ts';
import type { RgbImage } from './image.ts';
import { createPool } from './pool.ts';

export interface LoaderOptions extends BatchSettings {
  /** Folder that `files` are relative to. */
  root: string;
  files: readonly string[];
  /**
   * Threads that decode and resize; 0 (the default) does it in the caller's thread. Only what is no plain JPEG file is decoded
   * on libuv's threads, of which a process has 4 unless UV_THREADPOOL_SIZE says otherwise.
   */
  workers?: number;
  /** Bytes of decoded images to keep in memory, so that small data sets are decoded once; default 0. */
  cacheBytes?: number;
}

export interface BatchRequest<V extends View> {
  /** Which images, in which order, as positions in `files`; the default is all in order. */
  indices?: ArrayLike<number>;
  batchSize: number;
  views: readonly V[];
  seed?: number;
  epoch?: number;
}

export interface Loader {
  /**
   * The batches in order, each with up to `batchSize` images (see {@link Batch} on images that fail; the last batch may
   * be smaller). Reads at most one batch a thread and one more ahead of the consumer; stop early by leaving the loop.
   *
   * @throws S3aError `SHAPE` for an index out of range or a batch over 2 GiB a view, `DISPOSED` after `dispose`.
   */
  batches<V extends View>(request: BatchRequest<V>): AsyncGenerator<Batch<V>, void, void>;
  /** Ends the threads and frees the kept images. */
  dispose(): Promise<void>;
}

/**
 * A loader over `files`. Dispose of it when done.
 *
 * Kept images are the decoded originals: every view starts from the same pixels with and without a cache, so a cache
 * changes nothing but time. Images are kept first come, never exchanged: epochs go round, and a cache that evicts would
 * have thrown away just what comes next.
 *
 * @throws S3aError `SHAPE` when `size`, `workers` or `cacheBytes` is not a sensible number
 */
export function createLoader(options: LoaderOptions): Loader {
  const { root, files, workers = 0, cacheBytes = 0, size, mean, std, maxPixels, resize, interpolation, crop } = options;
  requireInteger('size', size, 1, 16384);
  requireInteger('workers', workers, 0, 256);
  requireInteger('cacheBytes', cacheBytes, 0, Number.MAX_SAFE_INTEGER);
  const pool = createPool(workers, { size, mean, std, maxPixels, resize, interpolation, crop });
  const kept = new Map<number, RgbImage>();
  let room = cacheBytes;

  function keep({ decoded }: BatchResult): void {
    for (const { index, image } of decoded) {
      if (kept.has(index)) continue;
      // The first image that does not fit closes the cache: from then on no thread copies images to be kept.
      if (image.data.length > room) room = 0;
      else kept.set(index, image);
      room = Math.max(0, room - image.data.length);
    }
  }

  async function* batches<V extends View>(request: BatchRequest<V>): AsyncGenerator<Batch<V>, void, void> {
    const { batchSize, seed = 0, epoch = 0 } = request;
    requireInteger('batchSize', batchSize, 1, Math.floor(2 ** 31 / (12 * size * size)));
    const indices = Array.from(request.indices ?? files.keys());
    for (const index of indices) requireInteger('index', index, 0, files.length - 1);

    const ahead: Promise<BatchResult>[] = [];
    for (let start = 0; start < indices.length || ahead.length > 0; ) {
      while (start < indices.length && ahead.length <= Math.max(1, workers)) {
        const items = indices.slice(start, start + batchSize).map(index => ({
          index,
          source: kept.get(index) ?? join(root, files[index]),
        }));
        const task: BatchTask = { items, views: [...request.views], seed, epoch, keep: room > 0 };
        const result = pool.run(task);
        // A failure is thrown when its turn comes; until then it must not count as unhandled.
        result.catch(() => undefined);
        ahead.push(result);
        start += batchSize;
      }
      const result = await ahead.shift()!;
      keep(result);
      yield { indices: result.indices, views: result.views, failed: result.failed };
    }
  }

  return {
    batches,
    dispose: async () => {
      kept.clear();
      await pool.dispose();
    },
  };
}

function requireInteger(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new S3aError('SHAPE', `loader: ${name} is ${value}`, `Give a whole number from ${low} to ${high}.`);
}
