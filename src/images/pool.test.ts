/** The pool when work goes wrong: an error reaches its caller as one line, and the threads go on. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import type { BatchSettings, BatchTask } from './batch.ts';
import { createPool } from './pool.ts';

const settings: BatchSettings = { size: 8, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const photo = fileURLToPath(new URL('../../test/goldens/images/photo.jpg', import.meta.url));
const task: BatchTask = { items: [{ index: 4, source: photo }], views: ['weak'], seed: 0, epoch: 0, keep: true };

describe('createPool', () => {
  for (const workers of [0, 1]) {
    it(`rejects a task that fails and does the next, ${workers} threads`, async () => {
      const pool = createPool(workers, settings);
      try {
        // No image is at fault here, so it must not be reported as a bad image.
        const broken = { ...task, views: ['sideways'], items: undefined } as unknown as BatchTask;
        await expect(pool.run(broken)).rejects.toThrow(/undefined/);
        const { indices, decoded } = await pool.run(task);
        expect([...indices]).toEqual([4]);
        expect(decoded[0].image.data.buffer).toBeInstanceOf(SharedArrayBuffer);
      } finally {
        await pool.dispose();
      }
    });
  }

  it('rejects what waits for a thread that is ended from outside, and what comes after', async () => {
    const started = once(process, 'worker') as Promise<[Worker]>;
    const pool = createPool(1, settings);
    const [worker] = await started;
    const ended = { code: 'WORKER', message: expect.stringContaining('an image loading thread ended') };
    const waiting = [pool.run(task), pool.run(task)].map(run => expect(run).rejects.toMatchObject(ended));
    await worker.terminate();
    await Promise.all(waiting);
    await expect(pool.run(task)).rejects.toMatchObject(ended);
    await pool.dispose();
  });

  it('names a defect in a thread WORKER, and refuses work after dispose', async () => {
    const pool = createPool(1, { ...settings, mean: undefined as unknown as BatchSettings['mean'] });
    try {
      await expect(pool.run(task)).rejects.toMatchObject({ code: 'WORKER' });
    } finally {
      await pool.dispose();
    }
    await expect(pool.run(task)).rejects.toThrow('used after dispose()');
  });
});
