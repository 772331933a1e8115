/** The device of a run: what was asked for is in config.json, what was taken in the manifest, and it is said once. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { chooseDevice } from '../engine/index.ts';
import type { RunEvent } from './events.ts';
import { fit } from './fit.ts';
import { openRun, reopenRun } from './store.ts';

test('a run on auto takes a device, says which, and keeps both names', async () => {
  const folder = await mkdtemp(join(tmpdir(), 's3a-device-'));
  const heard: RunEvent[] = [];
  const hooks = { onEvent: (event: RunEvent) => void heard.push(event) };
  const read = async (name: string) =>
    JSON.parse(await readFile(join(folder, name), 'utf8')) as Record<string, unknown>;
  try {
    const { device } = await chooseDevice('auto');
    const run = await openRun(folder, { images: ['photos'], device: 'auto' }, false, hooks);
    expect(run.config.device).toBe(device);
    expect(await read('config.json')).toMatchObject({ device: 'auto' });
    expect(await read('manifest.json')).toMatchObject({ versions: { device } });
    expect(heard).toEqual([{ type: 'note', message: expect.stringContaining(`--device auto takes ${device}`) }]);

    const again = await reopenRun(folder, {}, hooks);
    expect(again.config.device).toBe(device);
    expect(heard).toHaveLength(2);
    const explicit = await reopenRun(folder, { device: 'cpu' }, hooks);
    expect(explicit.config.device).toBe('cpu');
    expect(heard).toHaveLength(2);
    expect((await read('manifest.json')).versions).not.toHaveProperty('device');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('several steps a call on webgpu are refused at the beginning', async () => {
  const folder = await mkdtemp(join(tmpdir(), 's3a-device-'));
  try {
    const options = { images: 'photos', out: join(folder, 'run'), device: 'webgpu', stepsPerExecution: 4 } as const;
    await expect(fit(options)).rejects.toMatchObject({ code: 'STEPS', message: 'webgpu cannot run 4 steps a call' });
  } finally {
    await rm(folder, { recursive: true });
  }
});
