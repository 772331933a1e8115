/** Models of every format from the hub: what is downloaded loads, and is the model that lies in the folder. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadCheckpoint } from '../src/clip/checkpoint/checkpoint.ts';
import { filesIn } from '../src/hub/cache.ts';
import { commitOf, type Fixture, fixture, IMPATIENT } from './hub-fixture.ts';

const goldens = fileURLToPath(new URL('./goldens/clip/', import.meta.url));

let at: Fixture;
beforeEach(async () => {
  at = await fixture();
});
afterEach(() => at.close());

/** Serves a folder as a repository, with files that nobody needs beside it. */
async function serve(name: string, folder: string): Promise<void> {
  const names = [...(await filesIn(folder)).keys()].filter(path => !path.startsWith('golden'));
  const files = Object.fromEntries(names.map(path => [path, readFileSync(`${folder}/${path}`)]));
  at.hub.repos.set(name, { files: { ...files, 'README.md': Buffer.from('# A model\n') }, commit: commitOf(name) });
}

test.each([
  'quick_gelu',
  'gelu',
  'siglip',
  'siglip2',
  'open_clip/plain',
  'open_clip_siglip',
  'open_clip_siglip2',
  'files/shards',
  'files/bin',
  'files/bin-shards',
])('%s', async name => {
  const folder = `${goldens}${name}`;
  const repo = `acme/${name.replace('/', '-')}`;
  await serve(repo, folder);
  const local = await loadCheckpoint(folder);
  const remote = await loadCheckpoint(repo, { env: at.env, patience: IMPATIENT });
  expect(remote.config).toEqual(local.config);
  expect(remote.preprocess).toEqual(local.preprocess);
  expect(remote.origin).toEqual({ repo, revision: commitOf(repo) });
  const text = 'a photo of a cat';
  const length = local.config.text_config.max_position_embeddings;
  expect(remote.tokenizer.encode([text], length)).toEqual(local.tokenizer.encode([text], length));
  const weight = 'logit_scale';
  expect(await remote.readWeights([weight])).toEqual(await local.readWeights([weight]));
  expect(at.hub.requests.some(({ path }) => path.includes('README'))).toBe(false);
});
