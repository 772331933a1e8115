import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CLIPModel,
  CLIPTextModelWithProjection,
  CLIPVisionModelWithProjection,
  env,
  Tensor,
} from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { worstCosine } from '../../../test/cosine.ts';
import { readJson } from '../../io/json.ts';
import { openSafetensors } from '../../io/safetensors.ts';
import { clipParameters, loadCheckpoint } from '../checkpoint/checkpoint.ts';
import { saveCheckpoint } from '../checkpoint/save.ts';
import { foldBatchNorm } from '../towers/batch-norm.ts';
import { parseClipConfig } from '../towers/config.ts';
import { initialise } from '../towers/initialise.ts';
import { exportImageTower, exportOnnx, PRECISIONS } from './onnx.ts';
import { visionGraph } from './towers.ts';

const goldens = new URL('../../../test/goldens/clip/', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-export-'));
  env.allowRemoteModels = false;
  env.localModelPath = folder;
});
afterAll(() => rm(folder, { recursive: true }));

async function golden(name: string): Promise<Record<string, Float32Array>> {
  const file = await openSafetensors(goldens + name);
  const tensors: Record<string, Float32Array> = {};
  for (const key of file.names) if (file.info(key).dtype === 'F32') tensors[key] = await file.readFloat32(key);
  await file.close();
  return tensors;
}

/** Embeds with transformers.js, `batch` images at a time. */
async function embed(model: string, pixels: Float32Array, size: number, batch: number): Promise<number[]> {
  const tower = await CLIPVisionModelWithProjection.from_pretrained(model, { dtype: 'fp32', device: 'cpu' });
  const step = batch * 3 * size * size;
  const rows: number[] = [];
  for (let start = 0; start < pixels.length; start += step) {
    const part = pixels.slice(start, start + step);
    const pixel_values = new Tensor('float32', part, [part.length / (3 * size * size), 3, size, size]);
    const { image_embeds } = (await tower({ pixel_values })) as { image_embeds: Tensor };
    rows.push(...(image_embeds.data as Float32Array));
  }
  await tower.dispose();
  return rows;
}

describe('the exported image tower runs in transformers.js at any batch size', () => {
  test.each(['quick_gelu', 'gelu'])('a vision transformer (%s) equals PyTorch', async name => {
    const checkpoint = await loadCheckpoint(goldens + name);
    const weights = await checkpoint.readWeights(clipParameters(checkpoint.config).map(p => p.name));
    await saveCheckpoint(join(folder, name), { ...checkpoint, weights });
    await exportImageTower(join(folder, name), checkpoint.config, weights);
    const { pixels, image } = await golden(`${name}/golden.safetensors`);
    // As towers.test.ts.
    const tolerance = { rtol: 1e-5, atol: 3e-6 };
    expect(await embed(name, pixels, 32, 1)).toBeAllclose(image, tolerance);
    expect(await embed(name, pixels, 32, 4)).toBeAllclose(image, tolerance);
  });

  test.each(['resnet-basic', 'resnet-bottleneck'])('%s equals PyTorch in eval mode', async name => {
    const vision = (await readJson(`${goldens}${name}.json`)) as { image_size: number; projection_dim: number };
    const { tokenizerFiles } = await loadCheckpoint(`${goldens}gelu`);
    const config = parseClipConfig({
      projection_dim: vision.projection_dim,
      text_config: { vocab_size: 656, hidden_size: 8, num_hidden_layers: 1, intermediate_size: 8 },
      vision_config: vision,
    });
    const tensors = await golden(`${name}.safetensors`);
    const group = (prefix: string): Record<string, Float32Array> =>
      Object.fromEntries(
        Object.entries(tensors).flatMap(([key, data]) =>
          key.startsWith(prefix) ? [[key.slice(prefix.length), data]] : [],
        ),
      );
    const tower = foldBatchNorm({ ...group('weights/'), ...group('running/') });
    const weights = { ...initialise(config, clipParameters(config), 0), ...tower };
    const preprocess = { size: vision.image_size, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
    await saveCheckpoint(join(folder, name), { config, weights, tokenizerFiles, preprocess });
    await exportImageTower(join(folder, name), config, weights);
    // As resnet.test.ts.
    expect(await embed(name, tensors.pixels, vision.image_size, 3)).toBeAllclose(tensors.eval, {
      rtol: 1e-4,
      atol: 1e-4,
    });
  });

  test('a missing weight is named', () => {
    expect(() => visionGraph(parseClipConfig({}), {})).toThrow('no weight vision_model.embeddings.patch_embedding');
  });
});

/** Inputs of the text tower: the rows of `ids` cut to `length`. */
function texts(ids: Int32Array, from: number, length: number): Record<string, Tensor> {
  const rows = ids.length / from;
  const cut = Int32Array.from({ length: rows * length }, (_, i) => ids[Math.floor(i / length) * from + (i % length)]);
  return {
    input_ids: new Tensor('int64', BigInt64Array.from(cut, BigInt), [rows, length]),
    attention_mask: new Tensor('int64', new BigInt64Array(cut.length).fill(1n), [rows, length]),
  };
}

describe.each(['quick_gelu', 'gelu'])('both towers of %s in transformers.js', name => {
  let truth: Record<string, Float32Array>;
  let ids: Int32Array;
  let width: number;
  beforeAll(async () => {
    const checkpoint = await loadCheckpoint(goldens + name);
    const weights = await checkpoint.readWeights(clipParameters(checkpoint.config).map(p => p.name));
    await saveCheckpoint(join(folder, name), { ...checkpoint, weights });
    const seen: number[] = [];
    const onProgress = (done: number, total: number): void => void seen.push(done / total);
    expect(
      await exportOnnx(join(folder, name, 'onnx'), checkpoint.config, weights, PRECISIONS, { onProgress }),
    ).toEqual({});
    expect(seen.at(-1)).toBe(1);
    truth = await golden(`${name}/golden.safetensors`);
    const file = await openSafetensors(`${goldens}${name}/golden.safetensors`);
    ids = (await file.read('ids')) as Int32Array;
    await file.close();
    width = checkpoint.config.projection_dim;
  });

  // Half precision has 11 bits; 8 bits are of the order of a percent.
  test.each([
    ['fp32', 1e-6],
    ['fp16', 1e-5],
    ['q8', 5e-3],
  ] as const)('%s: embeddings and logits equal PyTorch', async (dtype, tolerance) => {
    const tower = await CLIPTextModelWithProjection.from_pretrained(name, { dtype, device: 'cpu' });
    const { text_embeds } = (await tower(texts(ids, 16, 16))) as { text_embeds: Tensor };
    expect(worstCosine(text_embeds.data as Float32Array, truth.text, width)).toBeLessThan(tolerance);
    await tower.dispose();

    const model = await CLIPModel.from_pretrained(name, { dtype, device: 'cpu' });
    const pixel_values = new Tensor('float32', truth.pixels.slice(0, 4 * 3 * 32 * 32), [4, 3, 32, 32]);
    const found = (await model({ ...texts(ids, 16, 16), pixel_values })) as Record<string, Tensor>;
    await model.dispose();
    expect(found.logits_per_image.dims).toEqual([4, 6]);
    expect(found.logits_per_text.dims).toEqual([6, 4]);
    expect(worstCosine(found.image_embeds.data as Float32Array, truth.image.slice(0, 4 * width), width)).toBeLessThan(
      tolerance,
    );
    expect(Math.hypot(...(found.text_embeds.data as Float32Array).slice(0, width))).toBeCloseTo(1, 5);
    // logits = exp(2.6592) · cosine, and a cosine is off by at most √(2·tolerance) a side.
    const atol = dtype === 'fp32' ? 1e-4 : 2 * Math.exp(2.6592) * Math.sqrt(2 * tolerance);
    expect(found.logits_per_image.data as Float32Array).toBeAllclose(truth.logits.slice(0, 24), { rtol: 0, atol });
  });

  test('texts of any length, padded or not', async () => {
    const tower = await CLIPTextModelWithProjection.from_pretrained(name, { dtype: 'fp32', device: 'cpu' });
    const all = (await tower(texts(ids, 16, 16))).text_embeds.data as Float32Array;
    // The fourth and the fifth text have two and three tokens.
    const short = texts(ids.slice(3 * 16, 5 * 16), 16, 3);
    const tolerance = { rtol: 1e-5, atol: 3e-6 };
    expect((await tower(short)).text_embeds.data as Float32Array).toBeAllclose(
      all.slice(3 * width, 5 * width),
      tolerance,
    );
    short.attention_mask.data[2] = 0n;
    expect((await tower(short)).text_embeds.data as Float32Array).toBeAllclose(
      all.slice(3 * width, 5 * width),
      tolerance,
    );
    // What is not attended to has no influence; what is has.
    short.attention_mask.data[1] = 0n;
    const hidden = (await tower(short)).text_embeds.data as Float32Array;
    expect(worstCosine(hidden.slice(0, width), all.slice(3 * width, 4 * width), width)).toBeGreaterThan(1e-4);
    await tower.dispose();
  });
});

test('weights beyond the limit lie in files beside the graph, which transformers.js finds', async () => {
  const checkpoint = await loadCheckpoint(`${goldens}gelu`);
  const weights = await checkpoint.readWeights(clipParameters(checkpoint.config).map(p => p.name));
  const whole = await loadCheckpoint(`${goldens}gelu`);
  const onnx = join(folder, 'large', 'onnx');
  const beside = await exportOnnx(onnx, checkpoint.config, weights, ['float32', 'int8'], { limit: 100_000 });
  expect(beside).toEqual({
    'vision_model.onnx': 2,
    'text_model.onnx': 2,
    'model.onnx': 4,
    'model_quantized.onnx': 1,
  });
  const names = (await readdir(onnx)).sort();
  expect(names.filter(name => name.startsWith('model'))).toEqual([
    'model.onnx',
    'model.onnx_data',
    'model.onnx_data_1',
    'model.onnx_data_2',
    'model.onnx_data_3',
    'model_quantized.onnx',
    'model_quantized.onnx_data',
  ]);
  for (const name of names) expect((await stat(join(onnx, name))).size).toBeLessThan(120_000);
  const config = { ...checkpoint.config, 'transformers.js_config': { use_external_data_format: beside } };
  await saveCheckpoint(join(folder, 'large'), { ...whole, config, weights });
  const { pixels, image, logits } = await golden('gelu/golden.safetensors');
  expect(await embed('large', pixels, 32, 6)).toBeAllclose(image, { rtol: 1e-5, atol: 3e-6 });
  const file = await openSafetensors(`${goldens}gelu/golden.safetensors`);
  const ids = (await file.read('ids')) as Int32Array;
  await file.close();
  for (const [dtype, atol] of [
    ['fp32', 1e-4],
    ['q8', 0.5],
  ] as const) {
    const model = await CLIPModel.from_pretrained('large', { dtype, device: 'cpu' });
    const found = await model({ ...texts(ids, 16, 16), pixel_values: new Tensor('float32', pixels, [6, 3, 32, 32]) });
    expect((found as Record<string, Tensor>).logits_per_image.data as Float32Array).toBeAllclose(logits, {
      rtol: 0,
      atol,
    });
    await model.dispose();
  }
});
