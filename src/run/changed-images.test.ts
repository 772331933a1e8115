/** Images that are touched, mended, changed or lost between two starts of a run, and while it goes on. */
import { rmSync } from 'node:fs';
import { chmod, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { drawImages } from '../../test/drawn-images.ts';
import { asOrdinaryUser } from '../../test/images.ts';
import { readJsonl } from '../io/jsonl.ts';
import { readTable } from '../io/table.ts';
import type { RunEvent } from './events.ts';
import { discover, type FitOptions, fit } from './fit.ts';

const model = new URL('../../test/goldens/clip/quick_gelu', import.meta.url).pathname;
let [folder, images, out] = ['', '', ''];
let given: FitOptions;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-changed-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await chmod(folder, 0o777);
  [images, out] = [join(folder, 'images'), join(folder, 'run')];
  await drawImages(images, 12);
  const vocab = join(folder, 'names.txt');
  await writeFile(vocab, 'disc\nsquare\nstripes\nring\n');
  given = { images, vocab, model, out, k: 3, threads: 1, workers: 0 };
});

/** What a run says about itself: its warnings, and the stages that it did. */
function listener() {
  const [warnings, done]: string[][] = [[], []];
  const onEvent = (event: RunEvent): void => {
    if (event.type === 'warning') warnings.push(event.message);
    if (event.type === 'stage' && event.state === 'end') done.push(event.stage);
  };
  return { warnings, done, onEvent };
}

const image = (i: number): string => join(images, `image-${String(i).padStart(3, '0')}.png`);
const skipped = async (): Promise<unknown> =>
  ((await readJsonl(join(out, 'skipped.jsonl'))) as { file_name: string }[]).map(({ file_name }) => file_name);

test('what could not be read stays listed when nothing but the time of files changes', async () => {
  await writeFile(join(images, 'broken.jpg'), 'text');
  await discover(given);
  expect(await skipped()).toEqual(['broken.jpg']);
  await utimes(image(3), 1, 1);
  const { warnings, done, onEvent } = listener();
  await discover({ ...given, resume: true }, { onEvent });
  expect([warnings, done]).toEqual([[], ['scan']]);
  expect(await skipped()).toEqual(['broken.jpg']);
});

test('other images are said to be other images, and taken', async () => {
  await discover(given);
  await rm(image(0));
  await writeFile(image(1), 'text');
  await drawImages(join(images, 'more'), 3);
  const { warnings, done, onEvent } = listener();
  const { images: count } = await discover({ ...given, resume: true }, { onEvent });
  expect(warnings[0]).toBe(
    'the images have changed since they were listed: 3 new, 1 gone, 1 with other content; what depends on them is computed again',
  );
  expect([count, done.slice(0, 2)]).toEqual([13, ['scan', 'embed']]);
});

test('a file that may be read by now is taken', async () => {
  await chmod(image(2), 0);
  expect((await asOrdinaryUser(() => discover(given))).images).toBe(11);
  expect(await skipped()).toEqual(['image-002.png']);
  // As the user alone is another, only the change of rights tells that something is different.
  await chmod(image(2), 0o644);
  await chmod(folder, 0o755);
  expect((await discover({ ...given, resume: true })).images).toBe(12);
  expect(await skipped()).toEqual([]);
});

test('a larger limit of pixels lets in what was too large', async () => {
  expect((await discover({ ...given, maxPixels: 1600 })).images).toBe(12);
  await expect(discover({ ...given, maxPixels: 1599, resume: true })).rejects.toMatchObject({ code: 'EMPTY' });
  expect((await discover({ ...given, maxPixels: 1600, resume: true })).images).toBe(12);
});

test('an image that is lost during the training does not end the run', async () => {
  const { warnings, onEvent } = listener();
  const losing = (event: RunEvent): void => {
    onEvent(event);
    if (event.type !== 'progress' || event.stage !== 'train') return;
    for (const i of [4, 5]) rmSync(image(i), { force: true });
  };
  await fit({ ...given, epochs: 3, batchSize: 4, cacheBytes: 0 }, { onEvent: losing });
  expect(await readTable(join(out, 'labels.csv'))).toHaveLength(12);
  const gone = 'image-00[45].png could be read at first but not any more: no such file';
  expect(warnings.filter(text => new RegExp(`^${gone}; features .* stand for it and 1 more$`).test(text))).toHaveLength(
    2,
  );
});
