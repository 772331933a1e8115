/** Where a run's files are looked for, and folders that no run can be made of. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drawImages } from '../../test/drawn-images.ts';
import { evaluateRun } from './evaluate-run.ts';
import { discover } from './fit.ts';
import { predict } from './predict.ts';
import { runStep } from './steps.ts';

const model = new URL('../../test/goldens/clip/quick_gelu', import.meta.url).pathname;
const before = process.cwd();
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-store-'));
  await drawImages(join(folder, 'images'), 12);
  await cp(model, join(folder, 'clip'), { recursive: true });
  await writeFile(join(folder, 'names.txt'), 'disc\nsquare\nstripes\nring\n');
  await writeFile(join(folder, 'labels.csv'), 'file_name,label\nimage-000.png,disc\nimage-001.png,square\n');
});
afterAll(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true });
});

test('a run that was begun with relative paths goes on from any folder', async () => {
  process.chdir(folder);
  await discover({ images: 'images', vocab: 'names.txt', model: 'clip', out: 'run', k: 3, threads: 1 });
  process.chdir(tmpdir());
  const run = join(folder, 'run');
  expect((await evaluateRun(run, join(folder, 'labels.csv'))).images).toBe(2);
  expect(await predict(run, join(folder, 'images'), { threads: 1 })).toHaveLength(12);
  const { stages } = await runStep(run, 'realign', {});
  expect(Object.values(stages).every(({ skipped }) => skipped)).toBe(true);
});

test.each([
  ['no name', { out: '', images: 'images' }, 'CONFIG', 'the run folder has no name'],
  ['an empty path of images', { out: 'other', images: '' }, 'CONFIG', 'no images were given'],
])('what a variable that is not set leaves: %s', async (_, options, code, message) => {
  process.chdir(folder);
  await expect(discover({ model: 'clip', vocab: 'names.txt', ...options })).rejects.toMatchObject({ code, message });
});

test('of very few images the number of clusters is not estimated', async () => {
  process.chdir(folder);
  const images = ['images/image-000.png', 'images/image-001.png'];
  const options = { images, model: 'clip', vocab: 'names.txt', threads: 1, out: 'few' };
  await expect(discover(options)).rejects.toMatchObject({
    message: 'there are 2 images, too few to estimate the number of clusters',
    hint: 'Give it with --k.',
  });
  expect((await discover({ ...options, k: 1, resume: true })).images).toBe(2);
});

test('settings of a command that fails at once do not stay', async () => {
  process.chdir(folder);
  const options = { images: 'images', model: 'clip', vocab: 'names.txt', threads: 1, out: 'typo', k: 3 };
  await discover(options);
  const read = () => readFile(join(folder, 'typo', 'config.json'), 'utf8');
  const before = await read();
  await expect(runStep('typo', 'vote', { vocab: 'nmaes.txt' })).rejects.toMatchObject({ code: 'VOCABULARY' });
  expect(await read()).toBe(before);
  await expect(runStep('typo', 'cluster', { k: 99 })).rejects.toMatchObject({ code: 'CLUSTERS' });
  expect(await read()).toBe(before);
  await runStep('typo', 'cluster', { k: 4 });
  expect(JSON.parse(await read())).toMatchObject({ k: 4 });
});
