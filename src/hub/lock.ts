/** A lock between processes, so that a file is downloaded once; what it guards must be safe without it, too. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

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
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), token: randomBytes(8).toString('hex') });
  await mkdir(dirname(path), { recursive: true });
  let seen = { mark: '', since: performance.now() };
  while (!(await tryTake(path, mine))) {
    signal?.throwIfAborted();
    const state = await look(path);
    if (state === undefined) continue;
    // The clock of a shared disk need not be ours: what counts is whether the time stamp moves while we watch.
    if (state.mark !== seen.mark) seen = { mark: state.mark, since: performance.now() };
    if (state.ended || performance.now() - seen.since > silenceMs) {
      await release(path, state.text);
      continue;
    }
    await waiting();
    await sleep(pollMs, undefined, { signal });
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), beatMs);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    await release(path, mine);
  }
}

async function tryTake(path: string, text: string): Promise<boolean> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'wx');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  try {
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
  return true;
}

async function look(path: string): Promise<{ text: string; mark: string; ended: boolean } | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    return { text, mark: `${mtimeMs} ${text}`, ended: hasEnded(text) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whether the holder was a process of this machine that is no more. */
function hasEnded(text: string): boolean {
  try {
    const { pid, host } = JSON.parse(text) as { pid: unknown; host: unknown };
    if (host !== hostname() || typeof pid !== 'number' || !(pid > 0)) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Removes the lock if it is still the one with this text. */
async function release(path: string, text: string): Promise<void> {
  const now = await readFile(path, 'utf8').catch(() => undefined);
  if (now === text) await rm(path, { force: true }).catch(() => {});
}
