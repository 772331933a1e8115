/** A whole training under WebGPU, whose batches are taken by the GPU while it computes: renewals, epochs, parts of a step. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { pattern } from './images.ts';
import { driver, hasDriver, onDriver } from './webgpu-driver.ts';

const script = `
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { initialise } from './dist/src/clip/towers/initialise.js';
import { parseClipConfig } from './dist/src/clip/towers/config.js';
import { visionParameters } from './dist/src/clip/towers/vision.js';
import { CLIP_MEAN, CLIP_STD } from './dist/src/clip/preprocess.js';
import { random } from './dist/src/random.js';
import { train } from './dist/src/train/loop.js';
const { base, files, runs } = JSON.parse(readFileSync(0, 'utf8'));
const tower = { hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2 };
const config = parseClipConfig({ projection_dim: 8, vision_config: { ...tower, image_size: 16, patch_size: 8 } });
const draw = random(1, 'prototypes');
const rows = Array.from({ length: 9 }, () => Array.from({ length: 8 }, () => draw.normal()));
const data = {
  config,
  preprocess: { size: 16, mean: CLIP_MEAN, std: CLIP_STD },
  weights: initialise(config, visionParameters(config), 2),
  logitScale: 20,
  root: base,
  files,
  prototypes: Float32Array.from(rows.flatMap(row => row.map(value => value / Math.hypot(...row)))),
  structural: Int32Array.from(files, (_, i) => (i % 5) - 1),
  clusters: Int32Array.from(files, (_, i) => i % 3),
};
const rates = { learningRate: 0.02, minLearningRate: 0.001, emaStart: 0.5, emaEnd: 0.9, emaSteps: 6 };
const settings = { epochs: 3, batchSize: 4, ...rates, threshold: 0.2, renewFrom: 2, seed: 3, threads: 1 };
const learnt = [];
for (const [i, changes] of runs.entries()) {
  const { weights } = await train(data, { ...settings, ...changes }, { folder: join(base, 'run' + i) });
  const student = await weights('student');
  learnt.push(Object.values(student).flatMap(values => [...values]));
}
console.log(JSON.stringify(learnt));
`;

describe.skipIf(!hasDriver)(`webgpu (needs ${driver})`, () => {
  it('trains as the CPU does, and twice the same', async () => {
    const base = mkdtempSync(join(tmpdir(), 's3a-webgpu-training-'));
    try {
      const files = Array.from({ length: 14 }, (_, i) => `${i}.png`);
      for (const [i, name] of files.entries()) {
        const { data, width, height } = pattern(20 + 2 * i, 40 - i);
        await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(base, name));
      }
      const gpu = { device: 'webgpu' };
      const runs = [{}, gpu, gpu, { ...gpu, microBatch: 2 }];
      const [cpu, first, second, parts] = JSON.parse(
        onDriver(script, JSON.stringify({ base, files, runs })),
      ) as number[][];
      expect(first.length).toBeGreaterThan(1000);
      expect(second).toEqual(first);
      // AdamW divides by the size of the gradient, so the least difference shows.
      expect(first).toBeAllclose(cpu, { rtol: 2e-2, atol: 2e-2 });
      expect(parts).toBeAllclose(cpu, { rtol: 2e-2, atol: 2e-2 });
    } finally {
      rmSync(base, { recursive: true });
    }
  }, 180_000);
});
