/** The embedded tiny CLIP: it knows drawings in styles it never saw, and its ONNX export runs in transformers.js. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLIPVisionModelWithProjection, env, Tensor } from '@huggingface/transformers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConcepts } from '../demo/concepts.ts';
import { evaluationBatch } from '../demo/dataset.ts';
import { loadSprites, type Sprites } from '../demo/sprites.ts';
import { zeroShotAccuracy } from '../demo/zero-shot.ts';
import { exportImageTower } from '../src/clip/export/onnx.ts';
import { visionParameters } from '../src/clip/towers/vision.ts';
import { loadClip, loadVocabulary } from '../src/index.ts';
import { packageFile } from '../src/vocab/package-root.ts';

const concepts = loadConcepts();
let sprites: Sprites;
let folder: string;

beforeAll(async () => {
  sprites = await loadSprites('fluent-emoji-flat', concepts, { cacheDir: null });
  folder = await mkdtemp(join(tmpdir(), 's3a-demo-model-'));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

it('has the vocabulary it was trained on', async () => {
  const { names, merged } = await loadVocabulary('demo');
  expect(names).toEqual(concepts.map(({ name }) => name));
  expect(merged).toBe(0);
});

it('names drawings in an unseen style far better than chance', async () => {
  const names = concepts.map(({ name }) => name);
  const { 'fluent-emoji-flat': accuracy } = await zeroShotAccuracy('demo', names, [sprites], {
    seed: 7,
    count: 256,
    threads: 2,
  });
  // Chance is 0.0007; the card's figure less three standard deviations of 256 drawings.
  expect(accuracy).toBeGreaterThan(0.25);
}, 60_000);

it('gives the same embeddings in transformers.js', async () => {
  const clip = await loadClip('demo', { threads: 1 });
  try {
    const { config, checkpoint } = clip;
    const { images } = evaluationBatch(sprites, { seed: 3, count: 5 });
    const ours = await clip.embedImages(images);
    const weights = await checkpoint.readWeights(visionParameters(config).map(({ name }) => name));
    await exportImageTower(join(folder, 'demo'), config, weights);
    await copyFile(packageFile('demo/model/config.json'), join(folder, 'demo', 'config.json'));
    env.allowRemoteModels = false;
    env.localModelPath = folder;
    const model = await CLIPVisionModelWithProjection.from_pretrained('demo', { dtype: 'fp32', device: 'cpu' });
    const pixel_values = new Tensor('float32', images, [5, 3, 48, 48]);
    const { image_embeds } = (await model({ pixel_values })) as { image_embeds: Tensor };
    const width = config.projection_dim;
    const theirs = (image_embeds.data as Float32Array).map((value, i, all) => {
      const row = all.subarray(Math.floor(i / width) * width, (Math.floor(i / width) + 1) * width);
      return value / Math.hypot(...row);
    });
    // Two orders of float32 sums over a dozen layers.
    expect(theirs).toBeAllclose(ours, { rtol: 1e-4, atol: 1e-5 });
    await model.dispose();
  } finally {
    await clip.dispose();
  }
}, 60_000);
