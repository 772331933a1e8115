/** The thread of one slice of a clustering's images. */
import { parentPort } from 'node:worker_threads';
import { openSlice, type SliceRequest } from './kmeans-requests.ts';

const port = parentPort!;
const answer = openSlice();
let queue = Promise.resolve();

port.on('message', ({ id, request }: { id: number; request: SliceRequest }) => {
  queue = queue.then(async () => {
    try {
      port.postMessage({ id, value: await answer(request) });
    } catch (error) {
      port.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
});
