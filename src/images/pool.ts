/** A few threads (or none) that make batches, one at a time each, first come first served. */
import { Worker } from 'node:worker_threads';
import { messageOf, S3aError } from '../errors.ts';
import { workerUrl } from '../worker-url.ts';
import { type BatchResult, type BatchSettings, type BatchTask, makeBatch } from './batch.ts';
import type { Reply } from './loader-worker.ts';

export interface Pool {
  /** Makes a batch; rejects with S3aError `WORKER` when its thread dies and `DISPOSED` after `dispose`. */
  run(task: BatchTask): Promise<BatchResult>;
  /** Ends the threads; work under way is rejected. */
  dispose(): Promise<void>;
}

interface Job {
  task: BatchTask;
  resolve: (result: BatchResult) => void;
  reject: (error: S3aError) => void;
}

/** A pool of `workers` threads; with 0 the work is done in this thread, one batch after the other. */
export function createPool(workers: number, settings: BatchSettings): Pool {
  return workers === 0 ? inProcess(settings) : threads(workers, settings);
}

function inProcess(settings: BatchSettings): Pool {
  let last: Promise<unknown> = Promise.resolve();
  let disposed = false;
  return {
    run: task => {
      const work = async (): Promise<BatchResult> => {
        if (disposed) throw disposedError();
        return makeBatch(settings, task);
      };
      const result = last.then(work, work);
      last = result;
      return result;
    },
    dispose: async () => {
      disposed = true;
      await last.catch(() => undefined);
    },
  };
}

function threads(count: number, settings: BatchSettings): Pool {
  const waiting: Job[] = [];
  const busy = new Map<Worker, Job>();
  let failure: S3aError | undefined;
  const all = Array.from({ length: count }, start);
  const idle = [...all];

  function start(): Worker {
    const worker = new Worker(workerUrl('./loader-worker.js', import.meta.url), {
      workerData: settings,
      // Flags of the caller, such as --input-type, are not for a file.
      execArgv: [],
    });
    // Only work under way keeps the process alive, not a pool that somebody forgot.
    worker.unref();
    worker.on('message', (reply: Reply) => {
      const job = busy.get(worker);
      // Rejected already, by dispose or because another thread died.
      if (!job) return;
      busy.delete(worker);
      worker.unref();
      idle.push(worker);
      if ('result' in reply) job.resolve(reply.result);
      else job.reject(new S3aError(reply.error.code, reply.error.message));
      next();
    });
    worker.on('error', error => fail(new S3aError('WORKER', `an image loading thread died: ${messageOf(error)}`)));
    // One that ends without an error, for the system or a library ended it; after `dispose` all do, and nothing waits.
    worker.on('exit', code => fail(new S3aError('WORKER', `an image loading thread ended with code ${code}`)));
    return worker;
  }

  function next(): void {
    while (idle.length > 0 && waiting.length > 0) {
      const worker = idle.shift()!;
      const job = waiting.shift()!;
      busy.set(worker, job);
      worker.ref();
      worker.postMessage(job.task);
    }
  }

  function fail(error: S3aError): void {
    failure ??= error;
    for (const job of [...busy.values(), ...waiting.splice(0)]) job.reject(failure);
    busy.clear();
  }

  return {
    run: task =>
      new Promise((resolve, reject) => {
        if (failure) return reject(failure);
        waiting.push({ task, resolve, reject });
        next();
      }),
    dispose: async () => {
      fail(disposedError());
      await Promise.all(all.map(worker => worker.terminate()));
    },
  };
}

function disposedError(): S3aError {
  return new S3aError('DISPOSED', 'the image loader was used after dispose()', 'Make a new loader.');
}
