/** `s3a models` on a cache that holds whole, partial and foreign models. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { commitOf, type Fixture, fixture, IMPATIENT, json } from '../../../test/hub-fixture.ts';
import { type Outcome, s3a as runS3a } from '../../../test/run-cli.ts';
import { type CachedModel, resolveModel } from '../../hub/index.ts';

let at: Fixture;
beforeAll(async () => {
  at = await fixture();
});
afterAll(() => at.close());
afterEach(() => vi.unstubAllEnvs());

function s3a(...args: string[]): Promise<Outcome> {
  vi.stubEnv('HF_HOME', at.home);
  return runS3a(...args);
}

test('without a cache there are the families', async () => {
  const { code, out, err } = await s3a('models');
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(`In ${join(at.home, 'hub')}:\nNo models yet.\n`);
  expect(out).toMatch(/^OpenAI CLIP +openai\/clip-vit-base-patch16 +224 +598 MB$/m);
  expect(out).toMatch(/^DFN-2B +ViT-L-14 +dfn2b +224 +1\.7 GB$/m);
  expect(out).toMatch(/^SigLIP 2 +google\/siglip2-so400m-patch14-384 +384 +4\.5 GB$/m);
});

test('what is in the cache, how large it is, and what it lacks', async () => {
  const get = (spec: string): Promise<{ folder: string }> => resolveModel(spec, { env: at.env, patience: IMPATIENT });
  await get('acme/clip');
  await get('timm/vit_base_patch32_clip_224.openai');
  await get('acme/browser');
  const { folder } = await get('acme/sharded');
  await rm(join(folder, 'model-00002-of-00002.safetensors'));
  const hub = join(at.home, 'hub');
  await writeFile(join(hub, 'models--acme--sharded', 'blobs', `${'a'.repeat(64)}.incomplete`), Buffer.alloc(1500));
  const foreign = join(hub, 'models--google--bert', 'snapshots', commitOf('bert'));
  await mkdir(foreign, { recursive: true });
  await writeFile(join(foreign, 'config.json'), json({ model_type: 'bert' }));
  // What else may lie there.
  await mkdir(join(hub, 'models--..--evil', 'snapshots', 'x'), { recursive: true });
  await mkdir(join(hub, 'datasets--a--b'), { recursive: true });
  await writeFile(join(hub, 'models--a--file'), '');

  const short = (name: string): string => commitOf(name).slice(0, 7);
  const { out } = await s3a('models');
  const row = (...cells: string[]): RegExp => new RegExp(`^${cells.join(' +')}$`, 'm');
  expect(out).toMatch(
    row('acme/clip', `main, ${short('acme/clip')}`, '300 kB', 'transformers safetensors', 'complete'),
  );
  expect(out).toMatch(row('acme/browser', `main, ${short('acme/browser')}`, '1\\.7 kB', 'onnx', 'complete'));
  expect(out).toMatch(/^timm\/vit_base_patch32_clip_224\.openai .* open_clip safetensors +complete$/m);
  expect(out).toMatch(/^acme\/sharded .*lacks model-00002-of-00002\.safetensors, 1\.5 kB of a download are here$/m);
  expect(out).toMatch('Besides 1 model of other kinds.\n');
  expect(out).not.toMatch(/evil|bert\b|datasets/);

  const { models, known } = JSON.parse((await s3a('models', '--json')).out) as {
    models: CachedModel[];
    known: { repo: string; cached: boolean }[];
  };
  expect(models.map(({ repo, complete }) => [repo, complete])).toEqual([
    ['acme/browser', true],
    ['acme/clip', true],
    ['acme/sharded', false],
    ['google/bert', false],
    ['timm/vit_base_patch32_clip_224.openai', true],
  ]);
  expect(known.every(({ cached }) => !cached)).toBe(true);
});

test('help has examples', async () => {
  const { code, out } = await s3a('models', '--help');
  expect(code).toBe(0);
  expect(out).toMatch(/Examples:\n {2}s3a models\b/);
});
