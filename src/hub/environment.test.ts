/** The environment is read as huggingface_hub reads it; the expected values are those of its constants.py. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Environment, hubSettings } from './environment.ts';

const home = mkdtempSync(join(tmpdir(), 's3a-env-'));
afterAll(() => rmSync(home, { recursive: true }));

test.each<[Environment, string]>([
  [{}, `${home}/.cache/huggingface/hub`],
  [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
  [{ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }, '/h/hub'],
  [{ HF_HOME: '~/hf' }, `${home}/hf/hub`],
  [{ HF_HOME: '$WHERE/a', WHERE: '/w' }, '/w/a/hub'],
  [{ HF_HOME: `\${WHERE}/$UNKNOWN`, WHERE: '/w' }, '/w/$UNKNOWN/hub'],
  [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
  [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/new' }, '/new'],
  [{ HF_HUB_CACHE: '' }, `${home}/.cache/huggingface/hub`],
])('the cache of %j', (environment, cache) => {
  expect(hubSettings({ HOME: home, ...environment }).cache).toBe(cache);
});

test('the token comes from HF_TOKEN, an older name, or a file', () => {
  const token = (environment: Environment): string | undefined => hubSettings({ HF_HOME: home, ...environment }).token;
  expect(token({})).toBe(undefined);
  writeFileSync(join(home, 'token'), 'hf_file\n');
  writeFileSync(join(home, 'other'), ' hf_other\r\n');
  expect(token({})).toBe('hf_file');
  expect(token({ HF_TOKEN_PATH: join(home, 'other') })).toBe('hf_other');
  expect(token({ HUGGING_FACE_HUB_TOKEN: 'hf_old' })).toBe('hf_old');
  expect(token({ HUGGING_FACE_HUB_TOKEN: 'hf_old', HF_TOKEN: ' hf_new ' })).toBe('hf_new');
  expect(token({ HF_TOKEN: 'hf_new', HF_HUB_DISABLE_IMPLICIT_TOKEN: 'YES' })).toBe(undefined);
});

test('switches and numbers', () => {
  for (const on of ['1', 'on', 'Yes', 'TRUE']) expect(hubSettings({ HF_HUB_OFFLINE: on }).offline).toBe(true);
  for (const off of ['0', 'off', '', '2']) expect(hubSettings({ HF_HUB_OFFLINE: off }).offline).toBe(false);
  expect(hubSettings({ TRANSFORMERS_OFFLINE: '1' }).offline).toBe(true);
  expect(hubSettings({ HF_HUB_DISABLE_SYMLINKS: '1' }).symlinks).toBe(false);
  expect(hubSettings({})).toMatchObject({ etagTimeoutMs: 10_000, downloadTimeoutMs: 10_000, symlinks: true });
  expect(hubSettings({ HF_HUB_ETAG_TIMEOUT: '3', HF_HUB_DOWNLOAD_TIMEOUT: '0.5' })).toMatchObject({
    etagTimeoutMs: 3000,
    downloadTimeoutMs: 500,
  });
  expect(hubSettings({}).endpoint).toBe('https://huggingface.co');
  expect(hubSettings({ HF_ENDPOINT: 'https://mirror.example/hf//' }).endpoint).toBe('https://mirror.example/hf');
});
