/** All slices of a clustering's images: in threads, or in this one when they are few. */
import { availableParallelism } from 'node:os';
import { messageOf, S3aError } from '../../errors.ts';
import { workerUrl } from '../../worker-url.ts';
import { startThread } from '../threads.ts';
import { paddedWidth } from './kernel.ts';
import { openSlice, type SliceAnswers, type SliceRequest } from './requests.ts';
import { PART } from './seeder.ts';
import { MOST_BYTES } from './slice.ts';

type Asked<K extends SliceRequest['kind']> = Extract<SliceRequest, { kind: K }>;

/** One slice, wherever it is. */
export interface Slice {
  /** The images it has: [start, end). */
  readonly start: number;
  readonly end: number;
  ask<K extends SliceRequest['kind']>(request: Asked<K>): Promise<SliceAnswers[K]>;
  /** Frees the images; requests after this fail. */
  close(): Promise<void>;
}

// Values that are not worth a thread.
const SMALL = 2 ** 20;
// Values up to which a slice's thread is kept for others; the memory of a large one must be free at once.
const KEPT = 2 ** 25;
// Bytes of an image beside its values: as bytes, and its bounds.
const BESIDE = 1024;

/** Empty slices for [count, width] rows, each a whole number of parts, so that sums by parts do not depend on their number. */
export async function openSlices(count: number, width: number, threads = availableParallelism()): Promise<Slice[]> {
  const parts = Math.ceil(count / PART);
  const small = count * width <= SMALL;
  const fitting = Math.ceil((count * (5 * paddedWidth(width) + BESIDE)) / MOST_BYTES);
  const wanted = small ? 1 : Math.min(parts, Math.max(threads, fitting));
  const slices: Slice[] = [];
  for (let s = 0; s < wanted; s++) {
    const start = Math.floor((s * parts) / wanted) * PART;
    const end = Math.min(count, Math.floor(((s + 1) * parts) / wanted) * PART);
    slices.push(small ? localSlice(start, end) : threadSlice(start, end, (end - start) * width < KEPT));
  }
  try {
    await Promise.all(slices.map(slice => slice.ask({ kind: 'open', count: slice.end - slice.start, width })));
  } catch (error) {
    await Promise.all(slices.map(slice => slice.close()));
    throw new S3aError('MEMORY', `cannot hold ${count} rows of ${width} values: ${messageOf(error)}`);
  }
  return slices;
}

function localSlice(start: number, end: number): Slice {
  const answer = openSlice();
  let queue: Promise<unknown> = Promise.resolve();
  const ask = <K extends SliceRequest['kind']>(request: Asked<K>): Promise<SliceAnswers[K]> => {
    const asked = queue.then(() => answer(request));
    queue = asked.catch(() => undefined);
    return asked as Promise<SliceAnswers[K]>;
  };
  return { start, end, ask, close: () => ask<'close'>({ kind: 'close' }) };
}

function threadSlice(start: number, end: number, keep: boolean): Slice {
  const thread = startThread(workerUrl('./worker.js', import.meta.url));
  const ask = <K extends SliceRequest['kind']>(request: Asked<K>): Promise<SliceAnswers[K]> =>
    thread.ask(request) as Promise<SliceAnswers[K]>;
  const close = async (): Promise<void> => {
    await ask<'close'>({ kind: 'close' }).catch(() => undefined);
    await thread.end(keep);
  };
  return { start, end, ask, close };
}
