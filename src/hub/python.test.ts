/** The cache is the one of Python's huggingface_hub: recorded for every machine, and live where PYTHON has the library. */
import { spawn, spawnSync } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { commitOf, type Fixture, fixture, IMPATIENT } from '../../test/hub-fixture.ts';
import { resolveModel } from './index.ts';

const GOLDEN = fileURLToPath(new URL('../../test/goldens/hub/cache.json', import.meta.url));
const SCRIPT = fileURLToPath(new URL('../../scripts/goldens/hub_cache.py', import.meta.url));
const FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
const ONNX = ['onnx/vision_model.onnx', 'onnx/vision_model.onnx_data', 'onnx/text_model.onnx'];
const ALL = [...FILES, ...ONNX];

let at: Fixture;
beforeEach(async () => {
  at = await fixture();
});
afterEach(() => at.close());

/** What a cache holds, in the form of scripts/goldens/hub_cache.py. */
async function describeCache(folder: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const path = join(folder, name);
    const found = await lstat(path);
    if (name.startsWith('.locks') || found.isDirectory()) continue;
    const small = /refs\/[^/]+$|CACHEDIR\.TAG$/.test(name);
    if (found.isSymbolicLink()) tree[name] = `-> ${await readlink(path)}`;
    else tree[name] = small ? await readFile(path, 'utf8') : `${found.size} bytes`;
  }
  return tree;
}

test('the folder is laid out as huggingface_hub lays it out', async () => {
  const golden: unknown = JSON.parse(await readFile(GOLDEN, 'utf8'));
  await resolveModel('acme/browser', { env: at.env, patience: IMPATIENT });
  expect(await describeCache(join(at.home, 'hub'))).toEqual(golden);
});

const python = process.env.PYTHON ?? 'python3';
const installed = spawnSync(python, ['-c', 'import huggingface_hub']).status === 0;

describe.skipIf(!installed)('with huggingface_hub (PYTHON names a Python that has it)', () => {
  function run(...args: string[]): Promise<unknown> {
    const child = spawn(python, [SCRIPT, ...args], { env: { PATH: process.env.PATH } });
    let [out, err] = ['', ''];
    child.stdout.on('data', (text: Buffer) => {
      out += text.toString();
    });
    child.stderr.on('data', (text: Buffer) => {
      err += text.toString();
    });
    return new Promise((resolve, reject) =>
      child.on('close', code => (code === 0 ? resolve(JSON.parse(out)) : reject(new Error(err)))),
    );
  }

  test('the recorded folder is what it makes, and what it makes is complete for us', async () => {
    const made = await run('make', at.hub.url, at.home, 'acme/browser', ...ALL);
    if (process.env.S3A_RECORD) {
      await mkdir(fileURLToPath(new URL('.', `file://${GOLDEN}`)), { recursive: true });
      await writeFile(GOLDEN, `${JSON.stringify(made, null, 2)}\n`);
    }
    expect(made).toEqual(JSON.parse(await readFile(GOLDEN, 'utf8')));
    at.hub.requests.length = 0;
    const place = await resolveModel('acme/browser', { env: { ...at.env, HF_HUB_OFFLINE: '1' } });
    expect(place).toMatchObject({ repo: 'acme/browser', revision: commitOf('acme/browser') });
    expect(at.hub.requests).toEqual([]);
    // Online, nothing of it is downloaded again.
    await resolveModel('acme/browser', { env: at.env, patience: IMPATIENT });
    expect(at.hub.requests.filter(({ path }) => !path.startsWith('/api/models/'))).toEqual([]);
  });

  test.each([
    ['with links', {}],
    ['without links', { HF_HUB_DISABLE_SYMLINKS: '1' }],
  ])('it finds what we made %s', async (_, more) => {
    await resolveModel('acme/browser', { env: { ...at.env, ...more }, patience: IMPATIENT });
    expect(await run('find', at.home, 'acme/browser', ...ALL)).toEqual({
      found: ALL.map(() => true),
      snapshot: `models--acme--browser/snapshots/${commitOf('acme/browser')}`,
      files: [...ALL].sort(),
      refs: ['main'],
      warnings: [],
    });
  });
});
