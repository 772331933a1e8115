import { cp, mkdir, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson } from '../../../io/json.ts';
import { openSafetensors } from '../../../io/safetensors.ts';
import { loadClip } from '../../clip.ts';
import { readClipTokenizer } from '../../tokenizer/files.ts';
import { loadCheckpoint } from '../checkpoint.ts';

const goldens = new URL('../../../../test/goldens/clip/', import.meta.url).pathname;
const files = join(goldens, 'files');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-transformers-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function copy(name: string, from = join(files, 'bin')): Promise<string> {
  const path = join(folder, name);
  await cp(from, path, { recursive: true });
  return path;
}

function unit(x: Float32Array, width: number): Float32Array {
  return x.map((value, i) => {
    const row = x.subarray(i - (i % width), i - (i % width) + width);
    return value / Math.sqrt(row.reduce((s, v) => s + v * v, 0));
  });
}

// The towers' own tolerance (towers.test.ts) on unit rows; the reference is of float64.
const tolerance = { rtol: 1e-5, atol: 3e-6 };

async function expectFeatures(model: string, golden: string): Promise<void> {
  const file = await openSafetensors(join(files, 'outputs.safetensors'));
  const [pixels, images, texts] = await Promise.all(
    ['pixels', `${golden}/image`, `${golden}/text`].map(name => file.readFloat32(name)),
  );
  await file.close();
  const strings = ((await readJson(join(goldens, 'tokens.json'))) as { texts: string[] }).texts;
  const clip = await loadClip(model, { threads: 1, batch: 8 });
  expect(await clip.embedImages(pixels)).toBeAllclose(unit(images, 12), tolerance);
  expect(await clip.embedTexts(strings)).toBeAllclose(unit(texts, 12), tolerance);
  await clip.dispose();
}

describe('what transformers loads from the same folder', () => {
  test.each([
    ['bfloat16 safetensors in shards', 'shards'],
    ['float16 pytorch_model.bin, with position buffers, vocab.json and merges.txt', 'bin'],
    ['float32 pytorch_model.bin in shards, without tokenizer_config.json', 'bin-shards'],
  ])('%s', (_what, name) => expectFeatures(join(files, name), name));

  test('a file of weights is given instead of its folder', async () => {
    await expectFeatures(join(files, 'bin', 'pytorch_model.bin'), 'bin');
    await expectFeatures(join(files, 'shards', 'model.safetensors.index.json'), 'shards');
    const path = await copy('other-name');
    await rename(join(path, 'pytorch_model.bin'), join(path, 'step-400.pt'));
    await expectFeatures(join(path, 'step-400.pt'), 'bin');
    await expect(loadCheckpoint(path)).rejects.toThrow(`${path} has a config.json but no weights`);
  });

  test('all files that make the model identify it', async () => {
    const { identity } = await loadCheckpoint(join(files, 'shards'));
    expect(identity.map(path => path.slice(files.length + 8)).sort()).toEqual([
      'config.json',
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
      'preprocessor_config.json',
      'tokenizer.json',
    ]);
  });
});

describe('folders of transformers and open_clip at once', () => {
  const openClip = join(goldens, 'open_clip', 'plain');

  test('transformers’ own config.json counts more, and timm’s does not count', async () => {
    const path = await copy('both', openClip);
    await writeFile(join(path, 'config.json'), JSON.stringify({ architecture: 'vit_base_patch32_clip_224' }));
    expect((await loadCheckpoint(path)).config.projection_dim).toBe(20);
    for (const name of ['config.json', 'preprocessor_config.json', 'pytorch_model.bin']) {
      await cp(join(files, 'bin', name), join(path, name));
    }
    expect((await loadCheckpoint(path)).config.projection_dim).toBe(12);
    // A file that is asked for by its name decides.
    const named = await loadCheckpoint(join(path, 'open_clip_model.safetensors'));
    expect(named.config.projection_dim).toBe(20);
  });

  test('without weights of transformers those of open_clip are read', async () => {
    const path = await copy('configs', openClip);
    await cp(join(files, 'bin', 'config.json'), join(path, 'config.json'));
    expect((await loadCheckpoint(path)).config.projection_dim).toBe(20);
  });
});

describe('a tokenizer of a folder', () => {
  test('is OpenAI’s where there is none and the model has its words', async () => {
    const path = join(folder, 'none');
    await mkdir(path);
    const found = await readClipTokenizer(path, 49408);
    expect(found.tokenizerFiles.tokenizer).toMatchObject({ model: { type: 'BPE' } });
    expect(found.path).toBeUndefined();
    expect(found.notes).toEqual([expect.stringContaining("OpenAI's")]);
    await expect(readClipTokenizer(path, 32000)).rejects.toThrow('no tokenizer.json, and its model of 32000 tokens');
  });

  test('has its own special tokens in tokenizer_config.json', async () => {
    const path = await copy('config');
    await writeFile(join(path, 'tokenizer_config.json'), '{"eos_token": "</s>"}');
    await expect(loadCheckpoint(path)).rejects.toThrow("the special token '</s>' is not in its vocabulary");
  });

  test('is refused where vocab.json or merges.txt are not CLIP’s', async () => {
    const path = await copy('broken');
    await writeFile(join(path, 'merges.txt'), '#version: 0.2\na b\na b c\n');
    await expect(loadCheckpoint(path)).rejects.toThrow('merges.txt: merge 2 is not two parts');
    await truncate(join(path, 'merges.txt'), 2 ** 26 + 1);
    await expect(loadCheckpoint(path)).rejects.toThrow('merges.txt has 67108865 bytes, at most 67108864');
    await rm(join(path, 'merges.txt'));
    await mkdir(join(path, 'merges.txt'));
    await expect(loadCheckpoint(path)).rejects.toThrow(/cannot read .*merges\.txt: EISDIR/);
    await rm(join(path, 'merges.txt'), { recursive: true });
    await writeFile(join(path, 'merges.txt'), '');
    await writeFile(join(path, 'vocab.json'), '["a"]');
    await expect(loadCheckpoint(path)).rejects.toThrow('vocab.json is not an object from tokens to ids');
    await writeFile(join(path, 'vocab.json'), '{"a": 0}');
    await expect(loadCheckpoint(path)).rejects.toThrow("a vocabulary without <|startoftext|> is not CLIP's");
  });
});
