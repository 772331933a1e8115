import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { listImages } from '../images/source.ts';
import type { FileSource, ImageRecord, RecordSource } from './image-source.ts';
import { neutralImages } from './neutral-images.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-neutral-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let caches = 0;
const newCache = (): string => join(scratch, `cache-${caches++}`);

function fileSource(): FileSource {
  const root = join(scratch, `data-${caches}`);
  const files = ['zebra/a.JPEG', 'zebra/b.png', 'yak/a.JPEG', 'yak/c.jpg', 'gnu/a.webp'];
  for (const file of files) {
    mkdirSync(join(root, file, '..'), { recursive: true });
    writeFileSync(join(root, file), `bytes of ${file}`);
  }
  return { kind: 'files', root, files };
}

function recordSource(count: number, read?: () => AsyncIterable<ImageRecord>): RecordSource {
  async function* all(): AsyncGenerator<ImageRecord> {
    for (let index = count - 1; index >= 0; index--)
      yield { index, image: new TextEncoder().encode(`record ${index}`) };
  }
  return { kind: 'records', count, archives: [], origin: String, read: read ?? all };
}

test('files are linked in a random order, all with names of one kind', async () => {
  const source = fileSource();
  const { images, order } = neutralImages('set train', source);
  const root = await images.materialise({ cache: newCache() });
  expect((await listImages(root)).files).toEqual(images.files);
  expect(images.files).toEqual([0, 1, 2, 3, 4].map(i => `0/000${i}.jpg`));
  expect([...order].sort()).toEqual([0, 1, 2, 3, 4]);
  for (const [i, file] of images.files.entries()) {
    expect(readFileSync(join(root, file), 'utf8')).toBe(`bytes of ${source.files[order[i]]}`);
  }
  expect(`${root}/${images.files.join()}`.slice(scratch.length)).not.toMatch(/zebra|yak|gnu|set/);
});

test('the second time nothing is written; what is broken is made again', async () => {
  const source = fileSource();
  const { images, order } = neutralImages('set train', source);
  const cache = newCache();
  const root = await images.materialise({ cache });
  const made = statSync(root).ino;
  expect(await images.materialise({ cache })).toBe(root);
  expect(statSync(root).ino).toBe(made);
  rmSync(join(root, images.files[2]));
  await images.materialise({ cache });
  expect(statSync(root).ino).not.toBe(made);
  expect(readFileSync(join(root, images.files[2]), 'utf8')).toBe(`bytes of ${source.files[order[2]]}`);
  writeFileSync(join(source.root, source.files[0]), 'other bytes');
  await images.materialise({ cache });
  expect(readFileSync(join(root, images.files[order.indexOf(0)]), 'utf8')).toBe('other bytes');
});

test('records are written whole or not at all, by any reader', async () => {
  const { images, order } = neutralImages('set', recordSource(7));
  const cache = newCache();
  mkdirSync(join(cache, '.tmp-999999999-dead'), { recursive: true });
  const done: number[] = [];
  const root = await images.materialise({ cache, onProgress: count => done.push(count) });
  expect(images.files.map(file => readFileSync(join(root, file), 'utf8'))).toEqual(
    Array.from(order, i => `record ${i}`),
  );
  expect(done.at(-1)).toBe(7);
  // Nothing unfinished is left, not even by a process that died.
  expect(readdirSync(cache)).toHaveLength(1);
});

test.each([
  ['twice', [0, 0, 1], 'image 0 of 3 comes twice'],
  ['too few', [0, 1], '2 of 3 images were found'],
  ['another', [0, 1, 5], 'image 5 of 3 comes twice, or is none of them'],
])('records that come %s', async (_, indices, message) => {
  async function* read(): AsyncGenerator<ImageRecord> {
    for (const index of indices) yield { index, image: new Uint8Array(3) };
  }
  const cache = newCache();
  await expect(neutralImages('set', recordSource(3, read)).images.materialise({ cache })).rejects.toThrow(message);
  expect(readdirSync(cache)).toEqual([]);
});

test('a listed file that is gone is one clear line; a stop leaves nothing', async () => {
  const source = fileSource();
  const cache = newCache();
  const { images } = neutralImages('set', source);
  await expect(images.materialise({ cache, signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow(
    'stopped',
  );
  rmSync(join(source.root, 'yak/c.jpg'));
  await expect(images.materialise({ cache })).rejects.toThrow('yak/c.jpg is listed, but cannot be read');
  expect(readdirSync(cache)).toEqual([]);
});
