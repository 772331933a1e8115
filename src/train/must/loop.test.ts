/** MUST from beginning to end: its metrics, the same bytes after every kind of interruption, and that it learns. */
import { cpSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pattern } from '../../../test/images.ts';
import { CLIP_MEAN, CLIP_STD } from '../../clip/preprocess.ts';
import { type ClipConfig, parseClipConfig } from '../../clip/towers/config.ts';
import { initialise } from '../../clip/towers/initialise.ts';
import { visionParameters } from '../../clip/towers/vision.ts';
import { readJsonl } from '../../io/jsonl.ts';
import { random } from '../../random.ts';
import { type MustMetrics, type MustPlace, type MustProgress, trainMust } from './loop.ts';
import type { MustData, MustSettings } from './settings.ts';

const SETTINGS: MustSettings = {
  epochs: 3,
  batchSize: 4,
  learningRate: 0.02,
  minLearningRate: 0.001,
  emaStart: 0.5,
  emaEnd: 0.9,
  emaSteps: 6,
  threshold: 0.002,
  seed: 3,
  threads: 1,
  logEvery: 2,
};

let base: string;
let data: MustData;

/** Unit rows. */
function prototypes(names: number, width: number): Float32Array {
  const draw = random(1, 'prototypes');
  const rows = Float32Array.from({ length: names * width }, () => draw.normal());
  for (let at = 0; at < rows.length; at += width) {
    const row = rows.subarray(at, at + width);
    const length = Math.hypot(...row);
    row.set(row.map(value => value / length));
  }
  return rows;
}

function dataOf(config: ClipConfig, files: readonly string[], names: number): MustData {
  const { image_size: size } = config.vision_config;
  return {
    config,
    preprocess: { size, mean: CLIP_MEAN, std: CLIP_STD },
    weights: initialise(config, visionParameters(config), 2),
    logitScale: 20,
    root: base,
    files,
    prototypes: prototypes(names, config.projection_dim),
  };
}

const vit = (hidden_size: number) =>
  parseClipConfig({
    projection_dim: 8,
    vision_config: {
      hidden_size,
      intermediate_size: 2 * hidden_size,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      image_size: 16,
      patch_size: 4,
    },
    text_config: { hidden_size: 8, num_hidden_layers: 1 },
  });

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 's3a-must-'));
  const files = Array.from({ length: 14 }, (_, i) => `${i}.png`);
  for (const [i, name] of files.entries()) {
    const { data: pixels, width, height } = pattern(20 + 2 * i, 40 - i);
    await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(join(base, name));
  }
  // So many names that the mean prediction is a moving average, which a checkpoint has to keep.
  data = dataOf(vit(16), files, 520);
});
afterAll(() => rm(base, { recursive: true }));

async function run(folder: string, changes: MustSettings = {}, place: Partial<MustPlace> = {}, d: MustData = data) {
  return trainMust(d, { ...SETTINGS, ...changes }, { folder: join(base, folder), ...place });
}

/** Everything a training leaves behind, without the one value that is a matter of time. */
async function remains(folder: string) {
  const checkpoints = join(base, folder, 'checkpoints');
  const [, tensors] = (await readdir(checkpoints)).sort();
  const metrics = (await readFile(join(base, folder, 'metrics.jsonl'), 'utf8')).replace(
    /,"imagesPerSecond":[^}]*/g,
    '',
  );
  return { name: tensors, bytes: await readFile(join(checkpoints, tensors)), metrics };
}

let reference: Awaited<ReturnType<typeof remains>>;
let trained: Awaited<ReturnType<typeof trainMust>>;
const heard: MustProgress[] = [];

beforeAll(async () => {
  // A copy of the folder in the middle of a step is what a kill at that moment leaves.
  const report = (progress: MustProgress) => {
    heard.push(progress);
    if (progress.kind === 'step')
      cpSync(join(base, 'reference'), join(base, `killed ${progress.step}`), { recursive: true });
  };
  trained = await run('reference', {}, { report });
  reference = await remains('reference');
});

describe('a training', () => {
  it('goes through all steps, reports them and writes its metrics', async () => {
    expect(trained.steps).toBe(9);
    const lines = (await readJsonl(join(base, 'reference', 'metrics.jsonl'))) as MustMetrics[];
    expect(lines.map(line => [line.epoch, line.step])).toEqual([
      [0, 2],
      [0, 3],
      [1, 4],
      [1, 6],
      [2, 8],
      [2, 9],
    ]);
    for (const { loss, instance, fairness, reconstruction, alignment, imagesPerSecond } of lines) {
      expect(loss).toBeCloseTo(instance + fairness + reconstruction + 0.2 * alignment, 4);
      expect(imagesPerSecond).toBeGreaterThan(0);
    }
    const steps = heard.filter(progress => progress.kind === 'step');
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(steps.at(-1)).toMatchObject({ steps: 9, epochs: 3, secondsLeft: 0 });
    expect(steps.some(({ maskShare }) => maskShare > 0)).toBe(true);
  });

  it('gives towers and classifiers of both roles', () => {
    const names = visionParameters(data.config).map(({ name }) => name);
    for (const role of ['student', 'teacher'] as const) {
      expect(Object.keys(trained[role])).toEqual(names);
      expect(trained.heads[role]).toHaveLength(520 * 8);
      expect(trained.heads[role]).not.toEqual(data.prototypes);
    }
    const name = 'visual_projection.weight';
    expect(trained.student[name]).not.toEqual(data.weights[name]);
    expect(trained.teacher[name]).not.toEqual(trained.student[name]);
  });

  it('leaves the classifier alone when told to', async () => {
    const { heads, student } = await run('frozen', { trainHead: false, epochs: 1 });
    expect(heads).toEqual({ student: data.prototypes, teacher: data.prototypes });
    expect(student['visual_projection.weight']).not.toEqual(data.weights['visual_projection.weight']);
  });

  it('is the same with any number of workers and any cache', async () => {
    await run('workers', { workers: 2, cacheBytes: 20_000 });
    expect(await remains('workers')).toEqual(reference);
  });

  it('depends on its seed and on what is masked', async () => {
    await run('seed', { seed: 4 });
    await run('ratio', { maskRatio: 0.6 });
    await run('patch', { maskPatch: 4 });
    for (const other of ['seed', 'ratio', 'patch']) {
      expect((await remains(other)).bytes.equals(reference.bytes), other).toBe(false);
    }
  });

  it('gives its result again, without a step, when it was finished', async () => {
    const steps: MustProgress[] = [];
    expect(await run('reference', {}, { report: progress => steps.push(progress) })).toEqual(trained);
    expect(steps).toEqual([]);
  });
});

describe('a training that is interrupted and called again ends in the same bytes', () => {
  it('stopped between steps and at the end of an epoch', async () => {
    for (const stop of [1, 3, 5]) {
      const controller = new AbortController();
      const report = (progress: MustProgress) => {
        if (progress.kind === 'step' && progress.step === stop) controller.abort();
      };
      await expect(run('stopped', {}, { report, signal: controller.signal })).rejects.toMatchObject({
        code: 'ABORTED',
        message: `training was stopped after step ${stop}`,
      });
    }
    expect(await run('stopped')).toEqual(trained);
    expect(await remains('stopped')).toEqual(reference);
  });

  it.each([2, 5, 9])('killed in step %i', async step => {
    expect(await run(`killed ${step}`)).toEqual(trained);
    expect(await remains(`killed ${step}`)).toEqual(reference);
  });
});

it('holds no copy of the states of the checkpoint that it went on from', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const large = dataOf(vit(256), data.files, 5);
  const network = 4 * Object.values(large.weights).reduce((sum, { length }) => sum + length, 0);
  const held: number[] = [];
  const controller = new AbortController();
  const report = (progress: MustProgress) => {
    if (progress.kind !== 'step') return;
    // The second time what the first has found is gone.
    for (const _ of [1, 2]) collect();
    held.push(process.memoryUsage().arrayBuffers);
    if (progress.step === 7) controller.abort();
  };
  const stopped = run('large', {}, { report, signal: controller.signal }, large);
  await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
  await run('large', {}, { report }, large);
  expect(held).toHaveLength(9);
  expect(Math.max(...held) - held[0]).toBeLessThan(network / 2);
});

describe('what can go wrong', () => {
  it('skips an image that cannot be read', async () => {
    await writeFile(join(base, 'bad.png'), 'no image');
    const result = await run('bad', {}, {}, { ...data, files: [...data.files.slice(0, 7), 'bad.png'] });
    expect(result.steps).toBe(6);
    expect(result.failed.map(({ index }) => index)).toEqual([7]);
    expect(Object.values(result.teacher).every(values => values.every(Number.isFinite))).toBe(true);
  });

  it('refuses the checkpoint of another training', async () => {
    await expect(run('reference', { alignmentWeight: 0.5 })).rejects.toMatchObject({
      code: 'CHECKPOINT',
      message: expect.stringMatching(/belongs to a training with other images, settings or labels$/),
    });
  });

  it('ends when the loss is no number', async () => {
    const weights = { ...data.weights, 'visual_projection.weight': new Float32Array(8 * 16) };
    await expect(run('diverged', {}, {}, { ...data, weights })).rejects.toMatchObject({
      code: 'DIVERGED',
      message: 'the loss is NaN at step 1',
    });
  });

  it('refuses data that do not fit, before anything is written', async () => {
    const refused = (change: Partial<MustData>) => expect(run('refused', {}, {}, { ...data, ...change })).rejects;
    await refused({ prototypes: new Float32Array(9) }).toThrow('9 values are not prototypes of width 8');
    await refused({ preprocess: { ...data.preprocess, size: 8 } }).toThrow(
      'images of 8 pixels for a model that takes 16',
    );
    await refused({ weights: {} }).toThrow('the weight vision_model.embeddings.patch_embedding.weight has no values');
    await expect(run('refused', { threshold: Number.NaN })).rejects.toThrow('threshold is NaN');
    const siglip = { model_type: 'siglip', text_config: {}, vision_config: {} };
    await refused({ config: parseClipConfig(siglip) }).toThrow('not siglip_vision_model');
    await expect(readdir(join(base, 'refused'))).rejects.toThrow('ENOENT');
  });
});

describe('on images of one colour each, what is seen tells what is hidden', () => {
  const residual = parseClipConfig({
    projection_dim: 8,
    text_config: { hidden_size: 8, num_hidden_layers: 1 },
    vision_config: {
      model_type: 's3a_resnet',
      image_size: 16,
      stem_width: 16,
      widths: [24],
      blocks: [1],
      block: 'basic',
      pool: 'attention',
      num_attention_heads: 2,
    },
  });

  it.each([
    ['vision transformer', vit(32)],
    ['residual tower', residual],
  ])('and a %s learns it', async (name, config) => {
    const draw = random(4, 'colours');
    const files = Array.from({ length: 32 }, (_, i) => `colour-${i}.png`);
    for (const file of files) {
      const background = { r: draw.int(256), g: draw.int(256), b: draw.int(256) };
      await sharp({ create: { width: 20, height: 20, channels: 3, background } }).toFile(join(base, file));
    }
    const settings = {
      epochs: 30,
      batchSize: 16,
      learningRate: 0.08,
      threshold: 1,
      fairnessWeight: 0,
      alignmentWeight: 0,
      layerDecay: 1,
    };
    await run(name, settings, {}, dataOf(config, files, 5));
    const lines = (await readJsonl(join(base, name, 'metrics.jsonl'))) as MustMetrics[];
    const last = lines.slice(-5).map(line => line.reconstruction);
    // Uniform colours lie 0.25 / 0.27 = 0.93 from their mean, on average: no prediction that leaves out what is seen is nearer.
    expect(lines[0].reconstruction).toBeGreaterThan(0.9);
    expect(last.reduce((sum, value) => sum + value) / last.length).toBeLessThan(0.75);
  });
});
