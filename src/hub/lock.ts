/** A lock between processes, so that a file is downloaded once; what it guards must be safe without it, too. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beat, hasEnded, holderOf, lockText, releaseLock, takeLock } from '../io/lock-file.ts';

/** Milliseconds between signs of life of the holder, between looks of a waiter, and of silence until it is given up. */
export interface LockTiming {
  readonly beatMs: number;
  readonly pollMs: number;
  readonly silenceMs: number;
}

const TIMING: LockTiming = { beatMs: 2000, pollMs: 250, silenceMs: 20_000 };

/**
 * Does `work` while no other process that asks for the same lock does.
 *
 * A lock whose process has ended, or whose file has not been touched for long, is taken over. Huggingface_hub's own locks
 * are flock(2), which Node has not; a download beside Python at the same moment costs traffic, never correctness.
 *
 * Throws what the system says when the lock file cannot be made, what `work` throws, and the signal's reason.
 * @param waiting called at each look at a lock that another holds
 */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  waiting: () => Promise<void>,
  work: () => Promise<T>,
  { beatMs, pollMs, silenceMs }: LockTiming = TIMING,
): Promise<T> {
  const mine = lockText({ token: randomBytes(8).toString('hex') });
  await mkdir(dirname(path), { recursive: true });
  let seen = { mark: '', since: performance.now() };
  while (!(await takeLock(path, mine))) {
    signal?.throwIfAborted();
    const state = await look(path);
    if (state === undefined) continue;
    // The clock of a shared disk need not be ours: what counts is whether the time stamp moves while we watch.
    if (state.mark !== seen.mark) seen = { mark: state.mark, since: performance.now() };
    if (state.ended || performance.now() - seen.since > silenceMs) {
      await releaseLock(path, state.text);
      continue;
    }
    await waiting();
    await sleep(pollMs, undefined, { signal });
  }
  const still = beat(path, beatMs);
  try {
    return await work();
  } finally {
    still();
    await releaseLock(path, mine);
  }
}

async function look(path: string): Promise<{ text: string; mark: string; ended: boolean } | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    return { text, mark: `${mtimeMs} ${text}`, ended: hasEnded(holderOf(text)) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
