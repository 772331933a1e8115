/** One process a run folder: a lock file that says whose it is, given back with the run. */
import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { writeError } from '../io/atomic-write.ts';

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
  const mine = JSON.stringify({ pid: process.pid, host: hostname() });
  for (let tries = 0; !(await create(path, mine)); tries++) {
    const holder = await readFile(path, 'utf8').catch(() => undefined);
    if (holder === mine) return async () => {};
    if (tries > 2 || (holder !== undefined && (await isAlive(path, holder)))) throw inUse(folder, holder ?? '');
    await rm(path, { force: true });
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), BEAT_MS).unref();
  return async () => {
    clearInterval(beat);
    if ((await readFile(path, 'utf8').catch(() => undefined)) === mine) await rm(path, { force: true });
  };
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw writeError(path, error);
  }
}

async function isAlive(path: string, holder: string): Promise<boolean> {
  const { pid, host } = parsed(holder);
  if (host === hostname() && pid !== undefined) {
    try {
      process.kill(pid, 0);
      return true;
    } catch (error) {
      // EPERM: a process of somebody else.
      return (error as NodeJS.ErrnoException).code !== 'ESRCH';
    }
  }
  const info = await stat(path).catch(() => undefined);
  return info !== undefined && Date.now() - info.mtimeMs < SILENCE_MS;
}

function inUse(folder: string, holder: string): S3aError {
  const { pid, host } = parsed(holder);
  const where = host === undefined || host === hostname() ? '' : ` on ${host}`;
  return new S3aError(
    'RUN_IN_USE',
    `${folder} is in use by ${pid === undefined ? 'another process' : `process ${pid}`}${where}`,
    `Wait until it has ended, or choose another --out. If nothing uses it, remove ${join(folder, LOCK_FILE)}.`,
  );
}

function parsed(text: string): { pid?: number; host?: string } {
  try {
    const { pid, host } = JSON.parse(text) as { pid: unknown; host: unknown };
    const isPid = typeof pid === 'number' && Number.isInteger(pid) && pid > 0;
    return { pid: isPid ? pid : undefined, host: typeof host === 'string' ? host.slice(0, 100) : undefined };
  } catch {
    return {};
  }
}
