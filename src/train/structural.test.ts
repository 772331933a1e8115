/** The renewal of structural labels equals embedding and voting done by the rooms that prove them. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pattern } from '../../test/images.ts';
import { loadCheckpoint } from '../clip/checkpoint/checkpoint.ts';
import { createImageEncoder } from '../clip/encoders.ts';
import { initialise } from '../clip/towers/initialise.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { vote } from '../discover/vote.ts';
import { createLoader } from '../images/loader.ts';
import { random } from '../random.ts';
import { createRenewal } from './structural.ts';
import { wholeTower } from './whole-tower.ts';

const model = new URL('../../test/goldens/clip/quick_gelu', import.meta.url).pathname;
const files = Array.from({ length: 11 }, (_, i) => `${i}.png`);
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 's3a-renewal-'));
  for (const [i, name] of files.entries()) {
    const { data, width, height } = pattern(40 + 5 * i, 90 - 4 * i);
    await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(root, name));
  }
});
afterAll(() => rm(root, { recursive: true }));

it('embeds all images with the given weights and votes three times from the given clusters', async () => {
  const checkpoint = await loadCheckpoint(model);
  const { config, preprocess } = checkpoint;
  const width = config.projection_dim;
  const weights = await checkpoint.readWeights(visionParameters(config).map(({ name }) => name));
  const tuned = Object.fromEntries(
    Object.entries(weights).map(([name, data]) => {
      const draw = random(5, name);
      return [name, data.map(v => v + 0.02 * draw.normal())];
    }),
  );
  const prototypes = distinguishing(await embedAll(weights), width);
  const clusters = Int32Array.from(files, (_, i) => i % 4);
  const renewal = await createRenewal({ config, preprocess, root, files, prototypes, clusters, batch: 4, threads: 1 });
  try {
    const seen: number[] = [];
    for (const teacher of [weights, tuned]) {
      const features = await embedAll(teacher);
      const expected = (await vote(features, prototypes, clusters, { width, threads: 1 })).rounds[2].labels;
      expect(await renewal.labels(teacher, done => seen.push(done))).toEqual(expected);
      expect(new Set(expected).size).toBeGreaterThan(1);
    }
    expect(seen).toEqual([4, 8, 11, 4, 8, 11]);

    // An image that is gone has no label; the vote goes on without it.
    await writeFile(join(root, '6.png'), '');
    const without = await renewal.labels(tuned);
    expect([...without.keys()].filter(i => without[i] < 0)).toEqual([6]);
    for (const name of files) await writeFile(join(root, name), '');
    await expect(renewal.labels(tuned)).rejects.toMatchObject({ code: 'EMPTY' });
  } finally {
    await renewal.dispose();
  }

  async function embedAll(teacher: Record<string, Float32Array>): Promise<Float32Array> {
    const encoder = await createImageEncoder(checkpoint, { threads: 1 }, teacher);
    const loader = createLoader({ root, files, ...preprocess });
    try {
      const { value: batch } = await loader.batches({ batchSize: files.length, views: ['evaluation'] }).next();
      return await encoder.embed(batch!.views.evaluation);
    } finally {
      await loader.dispose();
      await encoder.dispose();
    }
  }
});

it('embeds the same where weights are constants of a pass', async () => {
  const { config, preprocess } = await loadCheckpoint(model);
  const some = initialise(config, visionParameters(config), 1);
  const others = initialise(config, visionParameters(config), 2);
  const written = join(root, 'whole');
  await mkdir(written);
  const [data, names] = [pattern(50, 40), ['a.png', 'b.png', 'c.png']];
  for (const name of names) await sharp(data.data, { raw: { ...data, channels: 3 } }).toFile(join(written, name));
  const place = { config, preprocess, root: written, files: names, batch: 2, threads: 1 };
  const towers = [await wholeTower(place), await wholeTower(place, true)];
  try {
    const passes: Float32Array[] = [];
    for (const weights of [some, others]) {
      const [[, kept], [readable, constant]] = [await towers[0].embedAll(weights), await towers[1].embedAll(weights)];
      expect([...readable]).toEqual([0, 1, 2]);
      expect(constant).toBeAllclose(kept, { rtol: 1e-5, atol: 1e-6 });
      passes.push(constant);
    }
    expect(passes[0]).not.toEqual(passes[1]);
  } finally {
    for (const tower of towers) await tower.dispose();
  }
});

/** Unit directions in which images differ: each one's part at right angles to their mean. */
function distinguishing(features: Float32Array, width: number): Float32Array {
  const count = features.length / width;
  const mean = Float64Array.from({ length: width }, (_, d) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += features[i * width + d];
    return sum / count;
  });
  const square = mean.reduce((sum, v) => sum + v * v, 0);
  const out = new Float32Array(features.length);
  for (let start = 0; start < features.length; start += width) {
    const row = features.subarray(start, start + width);
    const along = row.reduce((sum, v, d) => sum + v * mean[d], 0) / square;
    const across = row.map((v, d) => v - along * mean[d]);
    out.set(
      across.map(v => v / Math.hypot(...across)),
      start,
    );
  }
  return out;
}
