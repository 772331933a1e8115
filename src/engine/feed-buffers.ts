/**
 * Memory in which large feeds travel to a session's thread and back. A message that copies makes new memory on the other side each
 * time, and asking for its pages takes several times as long as the copy: 5 of 270 ms for the images of a small model's step.
 */
import type { TensorData } from './graph.ts';
import { bytesOf } from './tensor-data.ts';

/** Feeds from this size on travel so, in bytes. */
const LARGE = 2 ** 16;

/** Feeds on their way: what is lent has to come back (`takeBack`). */
export interface LentFeeds {
  readonly data: Record<string, TensorData>;
  /** The memory under the copies. */
  readonly lent: ArrayBuffer[];
}

/** The memory of one session: as much as the feeds of the runs that are under way at once. */
export class FeedBuffers {
  readonly #spare: ArrayBuffer[] = [];

  /** The same feeds, large ones as copies in memory that can be handed over. */
  lend(feeds: Record<string, TensorData>): LentFeeds {
    const lent: ArrayBuffer[] = [];
    const data = Object.fromEntries(
      Object.entries(feeds).map(([name, feed]) => {
        if (feed.byteLength < LARGE) return [name, feed];
        const buffer = this.#take(feed.byteLength);
        new Uint8Array(buffer).set(bytesOf(feed));
        lent.push(buffer);
        return [name, new (feed.constructor as new (memory: ArrayBuffer) => TensorData)(buffer)];
      }),
    );
    return { data, lent };
  }

  /** Takes memory back for later feeds. */
  takeBack(buffers: readonly ArrayBuffer[]): void {
    this.#spare.push(...buffers);
  }

  #take(bytes: number): ArrayBuffer {
    const at = this.#spare.findIndex(({ byteLength }) => byteLength === bytes);
    return at < 0 ? new ArrayBuffer(bytes) : this.#spare.splice(at, 1)[0];
  }
}
