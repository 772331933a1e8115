/** Patience with a hub: how often and how long to wait before a request is sent again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { mayPass, StatusError } from './failures.ts';

/** How often a failed request is sent again without progress in between, and after which waits. */
export interface Patience {
  readonly retries: number;
  /** Milliseconds before the first new attempt, doubled for each further one. */
  readonly backoffMs: number;
  /** The longest wait in milliseconds; a server that asks for more is not waited for. */
  readonly maxWaitMs: number;
}

/** Five new attempts as huggingface_hub makes them, after 1, 2, 4, 8 and 8 seconds. */
export const PATIENCE: Patience = { retries: 5, backoffMs: 1000, maxWaitMs: 60_000 };

const LONGEST_BACKOFF = 8;

/**
 * Does `work` until it succeeds, fails for good, or failed `retries` times in a row.
 * @param progressed whether the last attempt got something that is kept, which makes the count begin again
 *
 * Throws what the last attempt threw, and the signal's reason.
 */
export async function patiently<T>(
  { retries, backoffMs, maxWaitMs }: Patience,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  progressed: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (progressed()) failures = 0;
      const asked = error instanceof StatusError ? error.retryAfterMs : undefined;
      if (failures >= retries || !mayPass(error) || (asked ?? 0) > maxWaitMs) throw error;
      await sleep(asked ?? backoffMs * Math.min(2 ** failures, LONGEST_BACKOFF), undefined, { signal });
      failures++;
    }
  }
}
