/** One process a run folder: who is kept out, and which locks are taken over. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LOCK_FILE, lockRun } from './lock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 's3a-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const file = (): string => join(folder, LOCK_FILE);
const held = (by: unknown): void => writeFileSync(file(), JSON.stringify(by));

it('is there while it is held, and gone afterwards', async () => {
  const release = await lockRun(folder);
  expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual({ pid: process.pid, host: hostname() });
  // The same process may open its run twice; the first holder keeps the lock.
  await (await lockRun(folder))();
  expect(existsSync(file())).toBe(true);
  await release();
  expect(existsSync(file())).toBe(false);
});

it('keeps others out while a process lives, and lets them in when it was killed', async () => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  held({ pid: other.pid, host: hostname() });
  await expect(lockRun(folder)).rejects.toMatchObject({
    code: 'RUN_IN_USE',
    message: `${folder} is in use by process ${other.pid}`,
    hint: expect.stringContaining(`remove ${file()}`),
  });
  const ended = new Promise(resolve => other.once('exit', resolve));
  other.kill('SIGKILL');
  await ended;
  await (await lockRun(folder))();
});

it('believes another machine as long as it gives signs of life', async () => {
  held({ pid: process.pid, host: 'elsewhere.test' });
  await expect(lockRun(folder)).rejects.toThrow(`in use by process ${process.pid} on elsewhere.test`);
  const before = new Date(Date.now() - 61_000);
  utimesSync(file(), before, before);
  await (await lockRun(folder))();
});

it.each([['nothing'], ['{"pid":-1,"host":7}']])('takes over a lock of %s when it is old', async text => {
  writeFileSync(file(), text === 'nothing' ? '' : text);
  await expect(lockRun(folder)).rejects.toThrow('in use by another process');
  const before = new Date(Date.now() - 61_000);
  utimesSync(file(), before, before);
  await (await lockRun(folder))();
});

it.skipIf(process.platform !== 'linux')('leaves no lock that names nobody where there is no room', () => {
  const lock = fileURLToPath(new URL('../../dist/src/run/lock.js', import.meta.url));
  const code = `process.on('SIGXFSZ', () => {}); const { lockRun } = await import(${JSON.stringify(lock)});
    await lockRun(process.argv[1]).catch(error => console.log(error.code))`;
  const take = ['-c', 'ulimit -f 0; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', code, folder];
  expect(spawnSync('bash', take, { encoding: 'utf8' }).stdout).toBe('WRITE\n');
  expect(readdirSync(folder)).toEqual([]);
});

it('says what is wrong where nothing can be written', async () => {
  await expect(lockRun(join(folder, 'missing'))).rejects.toMatchObject({ code: 'WRITE' });
});
