import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tensorsToWrite } from '../../test/tensors.ts';
import { compile, input, program, state } from '../engine/index.ts';
import { readJson } from '../io/json.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../io/safetensors.ts';
import { clipParameters, loadCheckpoint } from './checkpoint/checkpoint.ts';
import { saveCheckpoint } from './checkpoint/save.ts';
import { loadClip } from './clip.ts';
import { createImageEncoder, createTextEncoder, imagesAtOnce } from './encoders.ts';
import { parseClipConfig } from './towers/config.ts';
import { initialise } from './towers/initialise.ts';
import { textParameters, textTower } from './towers/text.ts';
import { visionParameters, visionTower } from './towers/vision.ts';

const goldens = new URL('../../test/goldens/clip/', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-clip-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function golden(name: string) {
  const file = await openSafetensors(`${goldens}${name}/golden.safetensors`);
  const of = (key: string) => file.readFloat32(key);
  const read = {
    image: await of('image'),
    text: await of('text'),
    logits: await of('logits'),
    pixels: await of('pixels'),
  };
  await file.close();
  return read;
}

function unit(x: Float32Array, width: number): Float32Array {
  return x.map((value, i) => {
    const row = x.subarray(i - (i % width), i - (i % width) + width);
    return value / Math.sqrt(row.reduce((s, v) => s + v * v, 0));
  });
}

// The towers' own tolerance (towers.test.ts) on unit rows.
const tolerance = { rtol: 1e-5, atol: 3e-6 };

describe.each(['quick_gelu', 'gelu'])('a model folder of transformers (%s)', name => {
  test('embeds as transformers, in whole and partial batches, with progress', async () => {
    const expected = await golden(name);
    const { texts } = (await readJson(`${goldens}tokens.json`)) as { texts: string[] };
    const clip = await loadClip(goldens + name, { threads: 1, batch: 4 });
    const width = clip.config.projection_dim;
    expect(clip.logitScale).toBeCloseTo(Math.exp(2.6592), 4);
    expect(clip.preprocess.size).toBe(32);
    const seen: number[][] = [];
    const images = await clip.embedImages(expected.pixels, (done, total) => seen.push([done, total]));
    expect(seen).toEqual([
      [4, 6],
      [6, 6],
    ]);
    expect(images).toBeAllclose(unit(expected.image, width), tolerance);
    expect(await clip.embedTexts(texts.slice(0, 6))).toBeAllclose(unit(expected.text, width), tolerance);
    expect((await clip.embedTexts([])).length).toBe(0);
    await expect(clip.embedImages(new Float32Array(100))).rejects.toThrow('not whole images of [3, 32, 32]');
    await clip.dispose();
  });

  test('is the same model after saving, and half precision is near', async () => {
    const original = await loadCheckpoint(goldens + name);
    const names = clipParameters(original.config).map(p => p.name);
    const contents = { ...original, weights: await original.readWeights(names) };
    await saveCheckpoint(join(folder, `${name}-copy`), contents);
    const copy = await loadCheckpoint(join(folder, `${name}-copy`));
    expect(await copy.readWeights(names)).toEqual(contents.weights);
    expect(copy.config).toEqual(original.config);
    expect(copy.preprocess).toEqual(original.preprocess);
    expect(copy.tokenizerFiles).toEqual(original.tokenizerFiles);
    await saveCheckpoint(join(folder, `${name}-half`), { ...contents, dtype: 'float16' });
    const half = await loadCheckpoint(join(folder, `${name}-half`));
    const weight = (await half.readWeights(['visual_projection.weight']))['visual_projection.weight'];
    expect(weight).toBeAllclose(contents.weights['visual_projection.weight'], { rtol: 2 ** -11, atol: 1e-7 });
    expect((await readJson(join(folder, `${name}-half`, 'config.json'))) as object).toMatchObject({ dtype: 'float16' });
  });
});

test('texts run at the shortest length that holds them, with the same result', async () => {
  const tokenizerFiles = (await loadCheckpoint(`${goldens}gelu`)).tokenizerFiles;
  const config = parseClipConfig({
    projection_dim: 8,
    text_config: {
      vocab_size: 656,
      eos_token_id: 655,
      hidden_size: 16,
      num_attention_heads: 2,
      intermediate_size: 16,
      num_hidden_layers: 2,
      max_position_embeddings: 40,
    },
    vision_config: {
      model_type: 's3a_resnet',
      image_size: 16,
      stem_width: 4,
      widths: [4],
      blocks: [1],
      block: 'basic',
      pool: 'attention',
      num_attention_heads: 2,
    },
  });
  const path = join(folder, 'resnet');
  const preprocess = { size: 16, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;
  await saveCheckpoint(path, {
    config,
    weights: initialise(config, clipParameters(config), 5),
    tokenizerFiles,
    preprocess,
  });
  const checkpoint = await loadCheckpoint(path);
  const text = 'a photo of the cat, ';
  const texts = [text, text.repeat(3), text.repeat(20), text];
  const encoder = createTextEncoder(checkpoint, { threads: 1, batch: 2 });
  const together = await encoder.embed(texts);
  await encoder.dispose();
  // The whole tower at its full length gives the same rows: what follows the end of a text does not reach it.
  const { ids, ends } = checkpoint.tokenizer.encode(texts, 40);
  expect([...ends].map(end => end < 16)).toEqual([true, false, false, true]);
  const full = textTower(
    config,
    (n, shape) => state(n, shape),
    input('ids', 'int32', [4, 40]),
    input('ends', 'int32', [4]),
  );
  const session = await compile(program({ full }), { threads: 1 });
  await session.setState(await checkpoint.readWeights(textParameters(config).map(p => p.name)));
  expect(together).toBeAllclose(unit((await session.run({ ids, ends })).full as Float32Array, 8), tolerance);
  await session.dispose();
  expect(together.subarray(24)).toEqual(together.subarray(0, 8));

  const images = await createImageEncoder(checkpoint, { threads: 1, batch: 2 });
  const rows = await images.embed(Float32Array.from({ length: 3 * 3 * 256 }, (_, i) => Math.sin(i)));
  await images.dispose();
  expect(rows.length).toBe(24);
  expect(Math.hypot(...rows.subarray(16))).toBeCloseTo(1, 5);
});

test('a processor embeds images of many tokens a few at a time, with the same rows', async () => {
  const tokens = (patch: number, size = 224) =>
    parseClipConfig({ vision_config: { patch_size: patch, image_size: size } });
  expect([32, 16, 14].map(patch => imagesAtOnce(tokens(patch), 32))).toEqual([16, 4, 2]);
  expect([imagesAtOnce(tokens(14, 448), 32), imagesAtOnce(tokens(32), 5), imagesAtOnce(tokens(16), 3)]).toEqual([
    1, 5, 3,
  ]);
  expect(imagesAtOnce(tokens(16), 32, 'webgpu')).toBe(32);

  const narrow = { hidden_size: 8, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2 };
  const config = parseClipConfig({
    projection_dim: 8,
    vision_config: { ...narrow, image_size: 32, patch_size: 2 },
    text_config: { ...narrow, vocab_size: 64 },
  });
  expect(imagesAtOnce(config, 4)).toBe(2);
  const weights = initialise(config, clipParameters(config), 5);
  const checkpoint = { ...(await loadCheckpoint(`${goldens}gelu`)), config };
  const pixels = Float32Array.from({ length: 5 * 3 * 1024 }, (_, i) => Math.sin(i * i));
  const encoder = await createImageEncoder(checkpoint, { threads: 1, batch: 4 }, weights);
  const rows = await encoder.embed(pixels);
  await encoder.dispose();

  const whole = visionTower(config, state, input('pixels', 'float32', [5, 3, 32, 32]));
  const session = await compile(program({ z: whole }), { threads: 1 });
  await session.setState(Object.fromEntries(visionParameters(config).map(({ name }) => [name, weights[name]])));
  const { z } = await session.run({ pixels });
  await session.dispose();
  expect(rows).toBeAllclose(unit(z as Float32Array, 8), tolerance);
});

describe('a folder that does not fit is one clear line', () => {
  async function broken(name: string, change: (tensors: Record<string, TensorToWrite>) => void): Promise<string> {
    const path = join(folder, name);
    await cp(`${goldens}gelu`, path, { recursive: true });
    const tensors = await tensorsToWrite(join(path, 'model.safetensors'));
    change(tensors);
    await writeSafetensors(join(path, 'model.safetensors'), tensors);
    return path;
  }

  test('no model', async () => {
    await expect(loadCheckpoint('openai/clip-vit-base-patch16')).rejects.toThrow(
      'openai/clip-vit-base-patch16@main is not in',
    );
  });

  test('missing, unknown and mis-shaped weights are named', async () => {
    const missing = await broken('missing', t => {
      delete t['vision_model.post_layernorm.weight'];
    });
    await expect(loadCheckpoint(missing)).rejects.toThrow('lacks the weight vision_model.post_layernorm.weight');
    const extra = await broken('extra', t => {
      t['adapter.weight'] = { dtype: 'F32', shape: [1], data: new Float32Array(1) };
      t['text_model.embeddings.position_ids'] = { dtype: 'I64', shape: [1], data: new BigInt64Array(1) };
    });
    await expect(loadCheckpoint(extra)).rejects.toThrow(/holds the weight adapter\.weight, which/);
    const shaped = await broken('shaped', t => {
      t['visual_projection.weight'] = { dtype: 'F32', shape: [2, 2], data: new Float32Array(4) };
    });
    await expect(loadCheckpoint(shaped)).rejects.toThrow('has visual_projection.weight of shape [2, 2], not [16, 40]');
  });

  test('a truncated file, a tokenizer of another model, bad JSON', async () => {
    const cut = await broken('cut', () => {});
    const bytes = await readFile(join(cut, 'model.safetensors'));
    await writeFile(join(cut, 'model.safetensors'), bytes.subarray(0, bytes.length - 100));
    await expect(loadCheckpoint(cut)).rejects.toThrow(/not a valid safetensors file/);
    await writeFile(join(cut, 'config.json'), '{"model_type": ');
    await expect(loadCheckpoint(cut)).rejects.toThrow(/config\.json is not valid JSON/);
    const config = (await readJson(`${goldens}gelu/config.json`)) as { text_config: object };
    await writeFile(
      join(cut, 'config.json'),
      JSON.stringify({ ...config, text_config: { ...config.text_config, vocab_size: 100 } }),
    );
    await expect(loadCheckpoint(cut)).rejects.toThrow('has 656 tokens, but the model knows 100');
  });

  test('nothing is saved with a missing or unknown weight', async () => {
    const model = await loadCheckpoint(`${goldens}gelu`);
    const weights = await model.readWeights(clipParameters(model.config).map(p => p.name));
    const { logit_scale: scale, ...rest } = weights;
    const save = (w: Record<string, Float32Array>) => saveCheckpoint(join(folder, 'never'), { ...model, weights: w });
    await expect(save(rest)).rejects.toThrow('cannot save logit_scale []: no such weight');
    await expect(save({ ...weights, more: scale })).rejects.toThrow('cannot save the weight more');
  });
});
