/** Matchers shared by every test; every test file has cache folders of its own, and no test asks the hub. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';

const cache = mkdtempSync(join(tmpdir(), 's3a-cache-'));
process.env.S3A_CACHE = cache;
process.env.HF_HOME = join(cache, 'huggingface');
process.env.HF_HUB_OFFLINE = '1';
for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_ENDPOINT', 'HF_TOKEN']) delete process.env[name];
afterAll(() => rmSync(cache, { recursive: true, force: true }));

interface Tolerance {
  /** Relative tolerance against |expected|; default 1e-5. */
  rtol?: number;
  /** Absolute tolerance; default 1e-6. */
  atol?: number;
}

expect.extend({
  /** Element by element |a − b| ≤ atol + rtol·|b|, as numpy.allclose; names the worst element when it fails. */
  toBeAllclose(received: ArrayLike<number>, expected: ArrayLike<number>, { rtol = 1e-5, atol = 1e-6 }: Tolerance = {}) {
    if (received.length !== expected.length) {
      return { pass: false, message: () => `lengths differ: ${received.length} and ${expected.length}` };
    }
    let worst = -1;
    let excess = 0;
    let failures = 0;
    for (let i = 0; i < expected.length; i++) {
      const over = Math.abs(received[i] - expected[i]) - (atol + rtol * Math.abs(expected[i]));
      // A NaN on either side makes `over` NaN, and must fail.
      if (!(over <= 0) && received[i] !== expected[i]) {
        failures++;
        if (worst < 0 || over > excess) {
          worst = i;
          excess = over;
        }
      }
    }
    return {
      pass: failures === 0,
      message: () =>
        failures === 0
          ? 'all elements are close'
          : `${failures} of ${expected.length} elements differ; worst at ${worst}: ${received[worst]} instead of ${expected[worst]} (rtol ${rtol}, atol ${atol})`,
    };
  },
});

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: the type parameter must match vitest's own declaration.
  interface Matchers<T = any> {
    toBeAllclose(expected: ArrayLike<number>, tolerance?: Tolerance): T;
  }
}
