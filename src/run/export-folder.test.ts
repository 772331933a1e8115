/** What an export may replace: a lost folder is lost for good. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { replaceFolder } from './export-folder.ts';

const before = process.cwd();
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-export-folder-'));
});
afterEach(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true });
});

const model = ['config.json', 'model.safetensors'];
const write = async (at: string, names: readonly string[]): Promise<void> => {
  for (const name of names) await writeFile(join(at, name), name);
};
const fill = (at: string): Promise<void> => write(at, [...model, 'new']);

test('an empty path is not the folder that we are in', async () => {
  await write(folder, model);
  process.chdir(folder);
  await expect(replaceFolder('', true, fill)).rejects.toMatchObject({ code: 'EXPORT', hint: 'Name it with --out.' });
  expect(await readdir(folder)).toEqual(model);
});

test.each([
  ['a clone', ['.git', ...model]],
  ['a run', ['manifest.json', ...model]],
  ['photographs', ['1.jpg', '2.jpg']],
])('%s is not replaced', async (_, names) => {
  await write(folder, names);
  await expect(replaceFolder(folder, true, fill)).rejects.toThrow('holds something else than a model');
  expect((await readdir(folder)).sort()).toEqual([...names].sort());
});

test('what came while the export was made is not replaced either', async () => {
  const out = join(folder, 'out');
  const slow = async (at: string): Promise<void> => {
    await fill(at);
    await mkdir(out);
    await write(out, ['other']);
  };
  await expect(replaceFolder(out, false, slow)).rejects.toThrow('is there already');
  expect(await readdir(out)).toEqual(['other']);
  expect(await readdir(folder)).toEqual(['out']);
});

test('a model is replaced where that is wanted, and only there', async () => {
  await write(folder, model);
  await expect(replaceFolder(folder, false, fill)).rejects.toThrow('is there already');
  expect((await replaceFolder(folder, true, fill)).map(({ name }) => name)).toEqual([...model, 'new']);
  expect(await readdir(folder)).toEqual([...model, 'new']);
});
