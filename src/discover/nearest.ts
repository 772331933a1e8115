/** Nearest names: for every image the prototypes with the highest cosines, by blocks of images in threads. */
import { availableParallelism } from 'node:os';
import { S3aError } from '../errors.ts';
import { workerUrl } from '../worker-url.ts';
import { NameTable, type Nearest } from './nearest-block.ts';
import type { NearestRequest } from './nearest-worker.ts';
import { type ComputeOptions, type Rows, rowCount, rowsOf } from './row-pass.ts';
import { startThread, type Thread } from './threads.ts';

export type { Nearest } from './nearest-block.ts';

export interface NearestOptions {
  /** Names an image; default 1. */
  top?: number;
}

// Multiplications that are not worth a thread.
const SMALL = 2 ** 27;
// Images that a thread gets at a time, and how many times it has more than it works on.
const BLOCK = 1024;
const AHEAD = 2;

/** Searches of one embedding width, on the processor whatever the device; threads are started with the first large one. */
export class NameSearch {
  readonly width: number;
  readonly #count: number;
  readonly #local: NameTable;
  #threads: Thread[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(width: number, { threads = availableParallelism() }: ComputeOptions = {}) {
    this.width = width;
    this.#count = threads;
    this.#local = new NameTable(width);
  }

  /**
   * The nearest prototypes of every image by dot product (METHOD §2.2: y_i = argmax_w z_i·h_w for `top` 1), the lower index
   * first among equals. The result depends neither on threads nor on other searches.
   * @param images [N, width], or rows to be read once, block by block
   * @param prototypes [V, width]
   * @throws S3aError SHAPE when sizes do not fit.
   */
  async nearest(
    images: Float32Array | Rows,
    prototypes: Float32Array,
    { top: wanted = 1 }: NearestOptions = {},
  ): Promise<Nearest> {
    const rows = rowsOf(images, this.width, 'image features');
    const names = rowCount(prototypes, this.width, 'prototypes');
    const top = Math.min(wanted, names);
    if (!Number.isInteger(top) || top < 1) throw new S3aError('SHAPE', `nearest names: cannot give the best ${top}`);
    const found = this.#queue.then(() =>
      rows.count * names * this.width < SMALL
        ? this.#here(rows, prototypes, top)
        : this.#threaded(rows, prototypes, top),
    );
    this.#queue = found.catch(() => undefined);
    return found;
  }

  /** Ends all threads. */
  async dispose(): Promise<void> {
    await this.#queue;
    const threads = this.#threads;
    this.#threads = [];
    await Promise.all(
      threads.map(async thread => {
        await thread.ask('close' satisfies NearestRequest);
        await thread.end(true);
      }),
    );
  }

  async #here(rows: Rows, prototypes: Float32Array, top: number): Promise<Nearest> {
    this.#local.set(prototypes.slice());
    return this.#local.search(await rows.read(0, rows.count), top);
  }

  async #threaded(rows: Rows, prototypes: Float32Array, top: number): Promise<Nearest> {
    const blocks = Math.ceil(rows.count / BLOCK);
    while (this.#threads.length < Math.min(this.#count, blocks)) {
      this.#threads.push(startThread(workerUrl('./nearest-worker.js', import.meta.url)));
    }
    const table: NearestRequest = { width: this.width, prototypes: prototypes.slice() };
    await Promise.all(this.#threads.map(thread => thread.ask(table)));
    const found: Nearest = {
      top,
      indices: new Int32Array(rows.count * top),
      scores: new Float32Array(rows.count * top),
    };
    let next = 0;
    const work = async (thread: Thread): Promise<void> => {
      while (next < rows.count) {
        const start = next;
        const end = Math.min(rows.count, start + BLOCK);
        next = end;
        // A copy of its own, which can be handed over.
        const part = (await rows.read(start, end)).slice();
        const request: NearestRequest = { images: part, top };
        const answer = (await thread.ask(request, [part.buffer])) as Nearest;
        found.indices.set(answer.indices, start * top);
        found.scores.set(answer.scores, start * top);
      }
    };
    await Promise.all(this.#threads.flatMap(thread => Array.from({ length: AHEAD }, () => work(thread))));
    return found;
  }
}

/**
 * `NameSearch.nearest` for one call.
 * @param images [N, width]
 * @param prototypes [V, width]
 */
export async function nearestNames(
  images: Float32Array | Rows,
  prototypes: Float32Array,
  { width, ...options }: NearestOptions & ComputeOptions & { width: number },
): Promise<Nearest> {
  const search = new NameSearch(width, options);
  try {
    return await search.nearest(images, prototypes, options);
  } finally {
    await search.dispose();
  }
}
