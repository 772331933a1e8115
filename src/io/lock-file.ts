/** Lock files between processes: made whole or not at all, with who holds them, and touched as a sign of life. */
import { randomBytes } from 'node:crypto';
import { link, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { TEMPORARY } from './atomic-write.ts';

/** Who holds a lock, as far as its file says so. */
export interface Holder {
  readonly pid?: number;
  readonly host?: string;
}

/** The text of a lock of this process. */
export function lockText(more: Readonly<Record<string, string>> = {}): string {
  return JSON.stringify({ pid: process.pid, host: hostname(), ...more });
}

/** Makes a lock file; false when there is one. Throws what the system says. */
export async function takeLock(path: string, text: string): Promise<boolean> {
  // A kill or a full disk between making a file and writing it would leave a lock that names nobody.
  const whole = join(dirname(path), `${TEMPORARY}${process.pid}-${randomBytes(6).toString('hex')}`);
  try {
    await writeFile(whole, text, { flag: 'wx' });
    return await isMade(link(whole, path).catch(error => orWithoutLinks(error, path, text)));
  } finally {
    await rm(whole, { force: true }).catch(() => {});
  }
}

/** Disks of memory cards, and some on a network, have no hard links. */
async function orWithoutLinks(error: unknown, path: string, text: string): Promise<void> {
  if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
  await writeFile(path, text, { flag: 'wx' });
}

async function isMade(made: Promise<void>): Promise<boolean> {
  try {
    await made;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Removes a lock if it is still the one with this text. */
export async function releaseLock(path: string, text: string): Promise<void> {
  const now = await readFile(path, 'utf8').catch(() => undefined);
  if (now === text) await rm(path, { force: true }).catch(() => {});
}

/** Touches a lock from time to time until the returned function is called; does not keep the process alive. */
export function beat(path: string, milliseconds: number): () => void {
  const timer = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), milliseconds).unref();
  return () => clearInterval(timer);
}

/** The holder that a lock's text names. */
export function holderOf(text: string): Holder {
  try {
    const { pid, host } = JSON.parse(text) as { pid: unknown; host: unknown };
    const isPid = typeof pid === 'number' && Number.isInteger(pid) && pid > 0;
    return { pid: isPid ? pid : undefined, host: typeof host === 'string' ? host.slice(0, 100) : undefined };
  } catch {
    return {};
  }
}

/** Whether a holder is a process of this machine, of which can be said whether it has ended. */
export function isLocal({ pid, host }: Holder): boolean {
  return pid !== undefined && host === hostname();
}

/** Whether a holder was a process of this machine that is no more. */
export function hasEnded(holder: Holder): boolean {
  if (!isLocal(holder)) return false;
  try {
    process.kill(holder.pid!, 0);
    return false;
  } catch (error) {
    // EPERM: a process of somebody else.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
