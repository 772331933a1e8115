import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLIPVisionModelWithProjection, env, Tensor } from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson } from '../../io/json.ts';
import { openSafetensors } from '../../io/safetensors.ts';
import { clipParameters, loadCheckpoint } from '../checkpoint/checkpoint.ts';
import { saveCheckpoint } from '../checkpoint/save.ts';
import { foldBatchNorm } from '../towers/batch-norm.ts';
import { parseClipConfig } from '../towers/config.ts';
import { initialise } from '../towers/initialise.ts';
import { exportImageTower, imageTowerOnnx } from './onnx.ts';

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
    expect(() => imageTowerOnnx(parseClipConfig({}), {})).toThrow('no weight vision_model.embeddings.patch_embedding');
  });
});
