/** All slices of a clustering's images: in threads, or in this one when they are few. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf, S3aError } from '../errors.ts';
import { workerUrl } from '../worker-url.ts';
import { paddedWidth } from './kmeans-kernel.ts';
import { openSlice, type SliceAnswers, type SliceRequest } from './kmeans-requests.ts';
import { PART } from './kmeans-seed.ts';
import { MOST_BYTES } from './kmeans-slice.ts';

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
    slices.push(small ? localSlice(start, end) : threadSlice(start, end));
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

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

function threadSlice(start: number, end: number): Slice {
  const worker = new Worker(workerUrl('./kmeans-worker.js', import.meta.url), { execArgv: [] });
  const pending = new Map<number, Waiting>();
  let ended: Error | undefined;
  let id = 0;
  const fail = (reason: Error): void => {
    ended ??= reason;
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  };
  worker.on('message', (reply: { id: number; value?: unknown; error?: string }) => {
    const waiting = pending.get(reply.id);
    pending.delete(reply.id);
    // An idle slice must not keep the process alive; one with work to do must.
    if (pending.size === 0) worker.unref();
    if (reply.error === undefined) waiting?.resolve(reply.value);
    else waiting?.reject(new S3aError('RUN', reply.error));
  });
  worker.on('error', error => fail(new S3aError('RUN', `a thread of the clustering died: ${messageOf(error)}`)));
  worker.on('exit', () => fail(new S3aError('RUN', 'the clustering has been disposed')));
  const ask = <K extends SliceRequest['kind']>(request: Asked<K>): Promise<SliceAnswers[K]> => {
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      pending.set(++id, { resolve: resolve as Waiting['resolve'], reject });
      worker.ref();
      worker.postMessage({ id, request });
    });
  };
  const close = async (): Promise<void> => {
    if (!ended) await ask<'close'>({ kind: 'close' }).catch(() => undefined);
    await worker.terminate();
  };
  return { start, end, ask, close };
}
