/** Memory of arrays that is given back at once, not when the garbage collector comes round to it. */
import { MessageChannel } from 'node:worker_threads';
import type { TensorData } from './graph.ts';

const { port1: sender, port2: receiver } = new MessageChannel();
// What is sent to a port that is closed is freed; until it is closed, a moment later, what is sent waits.
receiver.close();

/** Empties arrays, which are not to be read any more; those on memory that threads share stay as they are. */
export function discard(arrays: Iterable<TensorData>): void {
  const buffers = new Set<ArrayBuffer>();
  for (const { buffer } of arrays) if (buffer instanceof ArrayBuffer) buffers.add(buffer);
  sender.postMessage(undefined, [...buffers]);
}
