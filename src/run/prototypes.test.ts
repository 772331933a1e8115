/** The prototypes of runs that share a model and a vocabulary. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { hashBytes } from '../io/hash.ts';
import type { RunEvent } from './events.ts';
import { discover } from './fit.ts';
import { predict } from './predict.ts';

const model = fileURLToPath(new URL('../../test/goldens/clip/quick_gelu', import.meta.url));
const pictures = fileURLToPath(new URL('../../test/goldens/images/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-shared-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const shared = process.env.S3A_CACHE;

beforeAll(() => {
  mkdirSync(at('images'));
  for (const name of readdirSync(pictures).filter(file => /\.(jpg|png)$/.test(file))) {
    cpSync(join(pictures, name), at('images', name));
  }
  writeFileSync(at('names.txt'), 'cat\ndog\nbird\nfish\ntree\ncar\n');
});
afterEach(() => {
  process.env.S3A_CACHE = shared;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function discovered(out: string): Promise<{ hashes: string[]; info: unknown; warnings: string[] }> {
  const warnings: string[] = [];
  const onEvent = (event: RunEvent): void => {
    if (event.type === 'warning') warnings.push(event.message);
  };
  const settings = { model, vocab: at('names.txt'), k: 3, nInit: 2, workers: 0, threads: 1 };
  const { stages } = await discover({ ...settings, images: at('images'), out: at(out) }, { onEvent });
  const files = ['embeddings/prototypes.npy', 'embeddings/names.json', 'labels.csv', 'labels.parquet', 'classes.json'];
  return { hashes: files.map(file => hashBytes(readFileSync(at(out, file)))), info: stages.prototypes.info, warnings };
}

test('a run has the same bytes with the cache, from it, with a damaged one, and without one', async () => {
  process.env.S3A_CACHE = at('cache');
  const first = await discovered('first');
  expect(first).toMatchObject({ info: { names: 6 }, warnings: [] });
  expect(first.info).not.toHaveProperty('cached');
  const [table] = readdirSync(at('cache/prototypes'));
  const files = readdirSync(at('cache/prototypes', table));
  expect(files).toHaveLength(1);

  const second = await discovered('second');
  expect(second).toEqual({ hashes: first.hashes, info: { names: 6, cached: 6 }, warnings: [] });

  writeFileSync(at('cache/prototypes', table, files[0]), 'broken');
  const third = await discovered('third');
  expect(third).toEqual({ ...first, warnings: [expect.stringContaining('a damaged part of the cache')] });
  expect(readdirSync(at('cache/prototypes', table))).toEqual(files);

  process.env.S3A_CACHE = at('names.txt');
  const without = await discovered('without');
  expect(without).toEqual({ ...first, warnings: [expect.stringContaining('not kept for other runs')] });
}, 120_000);

test('predict uses them too, and templates and names make another table', async () => {
  process.env.S3A_CACHE = at('predicted');
  const options = { vocab: at('names.txt'), threads: 1 };
  const tables = (): number => readdirSync(at('predicted/prototypes')).length;
  const rows = await predict(model, at('images'), options);
  expect(tables()).toBe(1);
  expect(await predict(model, at('images'), options)).toEqual(rows);
  expect(tables()).toBe(1);
  await predict(model, at('images'), { ...options, templates: ['the {}'] });
  expect(tables()).toBe(2);
  await predict(model, at('images'), { ...options, vocab: 'demo' });
  expect(tables()).toBe(3);
}, 120_000);
