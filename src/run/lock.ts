/** One process a run folder: a lock file that says whose it is, given back with the run. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { writeError } from '../io/atomic-write.ts';
import { beat, type Holder, hasEnded, holderOf, isLocal, lockText, releaseLock, takeLock } from '../io/lock-file.ts';

/** The lock's file in a run folder. */
export const LOCK_FILE = '.lock';

const BEAT_MS = 5000;
/** Of a holder on another machine only its signs of life can be seen. */
const SILENCE_MS = 60_000;

/**
 * Takes the run folder for this process until the returned function is called.
 *
 * A lock of a process that has ended is taken over, and so is one of another machine that has been silent for a minute. A
 * process that holds the lock already gets it again.
 * @throws S3aError RUN_IN_USE when another process has the folder, WRITE when nothing can be written there
 */
export async function lockRun(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE);
  const mine = lockText();
  for (let tries = 0; !(await taken(path, mine)); tries++) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (text === mine) return async () => {};
    const holder = holderOf(text);
    if (tries > 2 || (await isAlive(path, holder))) throw inUse(folder, holder);
    await releaseLock(path, text);
  }
  const still = beat(path, BEAT_MS);
  return async () => {
    still();
    await releaseLock(path, mine);
  };
}

function taken(path: string, text: string): Promise<boolean> {
  return takeLock(path, text).catch((error: unknown) => {
    throw writeError(path, error);
  });
}

async function isAlive(path: string, holder: Holder): Promise<boolean> {
  if (isLocal(holder)) return !hasEnded(holder);
  const info = await stat(path).catch(() => undefined);
  return info !== undefined && Date.now() - info.mtimeMs < SILENCE_MS;
}

function inUse(folder: string, holder: Holder): S3aError {
  const { pid, host } = holder;
  const where = host === undefined || isLocal(holder) ? '' : ` on ${host}`;
  return new S3aError(
    'RUN_IN_USE',
    `${folder} is in use by ${pid === undefined ? 'another process' : `process ${pid}`}${where}`,
    `Wait until it has ended, or choose another --out. If nothing uses it, remove ${join(folder, LOCK_FILE)}.`,
  );
}
