/** Threads that answer requests, one after the other. */
import { parentPort, Worker } from 'node:worker_threads';
import { messageOf, S3aError } from '../errors.ts';

export interface Thread {
  /** Throws S3aError RUN with what the thread threw, or when it has ended. */
  ask(request: unknown, moved?: ArrayBuffer[]): Promise<unknown>;
  /** Gives the thread back: it ends or, when it may be kept, waits for the next one who needs its entry. */
  end(keep: boolean): Promise<void>;
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** Threads that nobody uses now, by their entries: a new one must load ONNX Runtime and compile everything again. */
const idle = new Map<string, Thread[]>();
const MOST_IDLE = 16;

/** A thread whose entry calls `serve`: one that was given back, else a new one. */
export function startThread(entry: URL): Thread {
  const waiting = idle.get(entry.href) ?? [];
  idle.set(entry.href, waiting);
  return waiting.pop() ?? newThread(entry, waiting);
}

function newThread(entry: URL, idleOnes: Thread[]): Thread {
  // Flags of the caller's process such as --input-type do not suit a worker.
  const worker = new Worker(entry, { execArgv: [] });
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
    // An idle thread must not keep the process alive; one with work to do must.
    if (pending.size === 0) worker.unref();
    if (reply.error === undefined) waiting?.resolve(reply.value);
    else waiting?.reject(new S3aError('RUN', reply.error));
  });
  worker.on('error', error => fail(new S3aError('RUN', `a thread died: ${messageOf(error)}`)));
  worker.on('exit', () => fail(new S3aError('RUN', 'the thread has ended')));
  const thread: Thread = {
    ask: (request, moved = []) => {
      if (ended) return Promise.reject(ended);
      return new Promise((resolve, reject) => {
        pending.set(++id, { resolve, reject });
        worker.ref();
        worker.postMessage({ id, request }, moved);
      });
    },
    end: async keep => {
      if (keep && !ended && idleOnes.length < MOST_IDLE) idleOnes.push(thread);
      else await worker.terminate();
    },
  };
  return thread;
}

/** Answers the requests that come to this thread. */
export function serve(answer: (request: unknown) => Promise<unknown>): void {
  const port = parentPort!;
  let queue = Promise.resolve();
  port.on('message', ({ id, request }: { id: number; request: unknown }) => {
    queue = queue.then(async () => {
      try {
        port.postMessage({ id, value: await answer(request) });
      } catch (error) {
        port.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
      }
    });
  });
}
