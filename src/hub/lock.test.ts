/** One process at a time, and no waiting for one that is gone. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { withLock } from './lock.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-lock-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'below', 'x.lock');
const timing = { beatMs: 20, pollMs: 5, silenceMs: 300 };

/** Takes the lock and remembers what happened. */
function take(events: string[], name: string, work: () => Promise<void> = () => sleep(40)): Promise<void> {
  const waiting = async (): Promise<void> => void events.push(`${name} waits`);
  return withLock(
    path,
    undefined,
    waiting,
    async () => {
      events.push(`${name} begins`);
      await work();
      events.push(`${name} ends`);
    },
    timing,
  );
}

test('one after the other, longer than the time of silence', async () => {
  const events: string[] = [];
  // The first works for longer than a silent holder would be believed.
  await Promise.all([take(events, 'a', () => sleep(500)), sleep(50).then(() => take(events, 'b'))]);
  expect(events.filter(event => !event.endsWith('waits'))).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  expect(events).toContain('b waits');
  expect(readdirSync(join(folder, 'below'))).toEqual([]);
});

test('the lock is free after a failure', async () => {
  const failed = take([], 'a', () => Promise.reject(new Error('no')));
  await expect(failed).rejects.toThrow('no');
  const events: string[] = [];
  await take(events, 'b');
  expect(events).toEqual(['b begins', 'b ends']);
});

test('the lock of a process that has ended is taken over at once', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  writeFileSync(path, JSON.stringify({ pid, host: hostname() }));
  const events: string[] = [];
  await take(events, 'a');
  expect(events).toEqual(['a begins', 'a ends']);
});

test.each([
  ['of another machine', JSON.stringify({ pid: 1, host: 'elsewhere' })],
  ['that cannot be read', 'x'],
])('a silent lock %s is taken over after a while', async (_, text) => {
  writeFileSync(path, text);
  const events: string[] = [];
  await take(events, 'a');
  expect(events).toEqual(expect.arrayContaining(['a waits', 'a begins', 'a ends']));
});

test('waiting ends when it is stopped', async () => {
  writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }));
  const stop = new AbortController();
  const waiting = async (): Promise<void> => stop.abort(new Error('enough'));
  await expect(withLock(path, stop.signal, waiting, async () => {}, timing)).rejects.toThrow();
  rmSync(path);
});
