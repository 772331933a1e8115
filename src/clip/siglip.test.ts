/** SigLIP folders of transformers: loaded, embedded, saved, and refused in one line where they do not fit. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson } from '../io/json.ts';
import { openSafetensors } from '../io/safetensors.ts';
import { clipParameters, loadCheckpoint } from './checkpoint/checkpoint.ts';
import { saveCheckpoint } from './checkpoint/save.ts';
import { loadClip } from './clip.ts';

const goldens = new URL('../../test/goldens/clip/', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-siglip-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function golden(name: string, ...keys: string[]): Promise<Float32Array[]> {
  const file = await openSafetensors(`${goldens}${name}/golden.safetensors`);
  try {
    const tensors: Float32Array[] = [];
    for (const key of keys) tensors.push(await file.readFloat32(key));
    return tensors;
  } finally {
    await file.close();
  }
}

function unit(x: Float32Array, width: number): Float32Array {
  return x.map((value, i) => value / Math.hypot(...x.subarray(i - (i % width), i - (i % width) + width)));
}

// The towers' own tolerance (siglip.test.ts) on unit rows.
const tolerance = { rtol: 1e-5, atol: 3e-6 };

describe.each(['siglip', 'siglip2'])('a model folder of transformers (%s)', name => {
  test('embeds as transformers, in whole and partial batches', async () => {
    const [pixels, image, text, logits] = await golden(name, 'pixels', 'image', 'text', 'logits');
    const { texts } = (await readJson(`${goldens}${name}/tokens.json`)) as { texts: string[] };
    const clip = await loadClip(goldens + name, { threads: 1, batch: 4 });
    try {
      const width = clip.config.projection_dim;
      const images = await clip.embedImages(pixels);
      const rows = await clip.embedTexts(texts.slice(0, 6));
      expect(images).toBeAllclose(unit(image, width), tolerance);
      // From the texts themselves: the ids are the tokenizer's, and the padding counts.
      expect(rows).toBeAllclose(unit(text, width), tolerance);
      const bias = (await clip.checkpoint.readWeights(['logit_bias'])).logit_bias[0];
      const found = Array.from({ length: 36 }, (_, at) => {
        const [i, j] = [Math.floor(at / 6) * width, (at % 6) * width];
        const cosine = images.subarray(i, i + width).reduce((sum, value, k) => sum + value * rows[j + k], 0);
        return clip.logitScale * cosine + bias;
      });
      expect(found).toBeAllclose(logits, { rtol: 1e-5, atol: 1e-4 });
    } finally {
      await clip.dispose();
    }
  });

  test('is the same model after saving', async () => {
    const original = await loadCheckpoint(goldens + name);
    expect(original.identity.map(path => path.slice(goldens.length + name.length + 1)).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'preprocessor_config.json',
      name === 'siglip' ? 'spiece.model' : 'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const names = clipParameters(original.config).map(p => p.name);
    const weights = await original.readWeights(names);
    const path = join(folder, `${name}-copy`);
    await saveCheckpoint(path, { ...original, weights });
    const copy = await loadCheckpoint(path);
    expect(await copy.readWeights(names)).toEqual(weights);
    expect(copy.config).toEqual({ ...original.config, dtype: 'float32' });
    expect(copy.preprocess).toEqual(original.preprocess);
    expect(copy.tokenizerFiles).toEqual(original.tokenizerFiles);
    expect(Object.keys((await readJson(join(path, 'config.json'))) as object)).not.toContain('projection_dim');
    const processor = (await readJson(join(path, 'preprocessor_config.json'))) as object;
    const theirs = (await readJson(`${goldens}${name}/preprocessor_config.json`)) as object;
    expect(processor).toEqual({ ...theirs, do_convert_rgb: true });
  });
});

test('spiece.model stays beside the tokenizer.json that is made of it', async () => {
  const path = join(folder, 'siglip-copy');
  expect(await readFile(join(path, 'spiece.model'))).toEqual(await readFile(`${goldens}siglip/spiece.model`));
  expect(await readJson(join(path, 'tokenizer.json'))).toMatchObject({ model: { type: 'Unigram', unk_id: 2 } });
});

describe('a folder that does not fit is one clear line', () => {
  async function broken(from: string, name: string): Promise<string> {
    const path = join(folder, name);
    await cp(goldens + from, path, { recursive: true });
    return path;
  }
  const change = async (path: string, values: object): Promise<void> =>
    writeFile(path, JSON.stringify({ ...((await readJson(path)) as object), ...values }));

  test('no tokenizer, half a sentencepiece model, none at all, a tokenizer of another kind', async () => {
    const path = await broken('siglip', 'tokenizer');
    const spiece = await readFile(join(path, 'spiece.model'));
    for (const cut of [1, 20, 700, spiece.length - 1]) {
      await writeFile(join(path, 'spiece.model'), spiece.subarray(0, cut));
      await expect(loadCheckpoint(path)).rejects.toThrow(/spiece\.model is not a sentencepiece model: [^\n]*$/);
    }
    await writeFile(join(path, 'tokenizer.json'), JSON.stringify({ model: { type: 'WordPiece' } }));
    await writeFile(join(path, 'spiece.model'), spiece);
    await expect(loadCheckpoint(path)).rejects.toThrow('a tokenizer of the type "WordPiece"; SigLIP has Unigram');
    await rm(join(path, 'tokenizer.json'));
    await rm(join(path, 'spiece.model'));
    await expect(loadCheckpoint(path)).rejects.toThrow('has neither tokenizer.json nor spiece.model');
  });

  test('special tokens that are not there, more tokens than the model knows, a NaFlex model, another size', async () => {
    const path = await broken('siglip2', 'fields');
    await change(join(path, 'tokenizer_config.json'), { eos_token: '<end>' });
    await expect(loadCheckpoint(path)).rejects.toThrow("the special token '<end>' is not in its vocabulary");
    await change(join(path, 'tokenizer_config.json'), { eos_token: '<eos>', clean: 'lower' });
    await expect(loadCheckpoint(path)).rejects.toThrow("tokenizer_config.json: clean: only 'canonicalize' is known");
    await change(join(path, 'tokenizer_config.json'), { clean: null });
    await change(join(path, 'preprocessor_config.json'), { size: { height: 32, width: 32 } });
    await expect(loadCheckpoint(path)).rejects.toThrow('size 32 does not fit the model, which takes 28 pixels');
    await rm(join(path, 'preprocessor_config.json'));
    expect((await loadCheckpoint(path)).preprocess).toMatchObject({ size: 28, resize: 'squash' });
    const config = (await readJson(join(path, 'config.json'))) as { text_config: object };
    await change(join(path, 'config.json'), { text_config: { ...config.text_config, vocab_size: 20 } });
    await expect(loadCheckpoint(path)).rejects.toThrow('tokens, but the model knows 20');
    await change(join(path, 'config.json'), { model_type: 'siglip2' });
    await expect(loadCheckpoint(path)).rejects.toThrow('model_type = "siglip2": a NaFlex model');
  });
});
