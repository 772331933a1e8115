/** The estimate of a training of the demo's model. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeTraining, estimateTraining } from './train-estimate.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-estimate-'));
  for (let i = 0; i < 9; i++) {
    const background = { r: 20 * i, g: 90, b: 200 - 20 * i };
    await sharp({ create: { width: 30, height: 40, channels: 3, background } }).toFile(join(folder, `${i}.png`));
  }
});
afterAll(() => rm(folder, { recursive: true }));

const settings = { model: 'demo', vocab: 'demo', batchSize: 4, epochs: 3, threads: 1 };

it('counts steps, memory and disk, measures time, and writes nothing', async () => {
  const full = await estimateTraining([folder], settings);
  expect(full).toMatchObject({ images: 9, steps: 6, disk: 0 });
  expect(full.seconds).toBeGreaterThan(0);
  expect(describeTraining(full)).toMatch(
    /^Training on 9 images takes 6 steps, about \d+ s; the fit takes 0\.\d GiB of memory \(embed 0\.\d, prototypes 0\.\d, train 0\.\d\)$/,
  );
  expect(full.memory).toBe(Math.max(...full.stages.map(({ bytes }) => bytes)));
  const head = await estimateTraining([folder], { ...settings, tune: 'head', cachedViews: 2 });
  // 256 float32 an image and view, three views.
  expect(head.disk).toBe(9 * 3 * 4 * 256);
  const large = await estimateTraining([folder], { ...settings, batchSize: 8 });
  expect(large.memory).toBeGreaterThan(full.memory - 50e6);
  expect(await readdir(folder)).toHaveLength(9);
}, 120_000);

it('refuses what the model cannot do, and images that are not there', async () => {
  await expect(estimateTraining([folder], { ...settings, patchDropout: 0.5 })).rejects.toMatchObject({ code: 'TUNE' });
  await expect(estimateTraining([join(folder, 'nowhere')], settings)).rejects.toThrow('nowhere');
}, 60_000);
