/** Lock files between processes: made whole or not at all, with who holds them, and touched as a sign of life. */
import { open, readFile, rm, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';

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
