/** Whole trainings of a part of the tower: what stays stays, a kill changes nothing, and kept activations are the computed ones. */
import { existsSync, mkdtempSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pattern } from '../../test/images.ts';
import { CLIP_MEAN, CLIP_STD } from '../clip/preprocess.ts';
import { type ClipConfig, parseClipConfig } from '../clip/towers/config.ts';
import { initialise } from '../clip/towers/initialise.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { random } from '../random.ts';
import { type TrainPlace, type TrainProgress, train } from './loop.ts';
import type { TrainData, TrainSettings, Weights } from './settings.ts';

const NAMES = 9;
const SETTINGS: TrainSettings = {
  ...{ epochs: 3, batchSize: 4, learningRate: 0.1, minLearningRate: 0.001, emaStart: 0.5, emaEnd: 0.9, emaSteps: 6 },
  ...{ threshold: 0.2, renewFrom: 1, seed: 3, threads: 1 },
};
const TOWERS = {
  vit: { hidden_size: 16, intermediate_size: 24, num_hidden_layers: 3, num_attention_heads: 2, patch_size: 8 },
  resnet: {
    ...{ model_type: 's3a_resnet', stem_width: 8, stem_pool: true, widths: [8, 12], blocks: [1, 1], block: 'basic' },
    ...{ pool: 'mean', num_attention_heads: 1 },
  },
};

const base = mkdtempSync(join(tmpdir(), 's3a-tune-'));
const files = Array.from({ length: 11 }, (_, i) => `${i}.png`);

beforeAll(async () => {
  for (const [i, name] of files.entries()) {
    const { data, width, height } = pattern(20 + 2 * i, 20 + 2 * i);
    await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(base, name));
  }
});
afterAll(() => rm(base, { recursive: true }));

function dataOf(vision_config: object): TrainData & { weights: Weights } {
  const config: ClipConfig = parseClipConfig({
    projection_dim: 8,
    vision_config: { ...vision_config, image_size: 16 },
    text_config: { hidden_size: 8, num_hidden_layers: 1 },
  });
  const draw = random(1, 'prototypes');
  const prototypes = Float32Array.from({ length: NAMES * 8 }, () => draw.normal());
  for (let row = 0; row < NAMES; row++) {
    const values = prototypes.subarray(row * 8, row * 8 + 8);
    const length = Math.hypot(...values);
    values.set(values.map(v => v / length));
  }
  return {
    config,
    preprocess: { size: 16, mean: CLIP_MEAN, std: CLIP_STD },
    weights: initialise(config, visionParameters(config), 2),
    logitScale: 20,
    root: base,
    files,
    prototypes,
    structural: Int32Array.from(files, (_, i) => (i % 5) - 1),
    clusters: Int32Array.from(files, (_, i) => i % 3),
  };
}

async function run(data: TrainData, folder: string, changes: TrainSettings, place: Partial<TrainPlace> = {}) {
  const { weights, ...facts } = await train(
    data,
    { ...SETTINGS, ...changes },
    { folder: join(base, folder), ...place },
  );
  return { ...facts, student: await weights('student'), teacher: await weights('teacher') };
}

/** Bytes of the last checkpoint. */
async function checkpointOf(folder: string): Promise<Buffer> {
  const checkpoints = join(base, folder, 'checkpoints');
  const name = (await readdir(checkpoints)).find(file => file.endsWith('.safetensors'))!;
  return readFile(join(checkpoints, name));
}

const WAYS: [keyof typeof TOWERS, TrainSettings, RegExp][] = [
  ['vit', { freezeLayers: 2 }, /embeddings|pre_layrnorm|layers\.[01]\./],
  ['vit', { patchDropout: 0.5, microBatch: 2 }, /^nothing/],
  ['vit', { tune: 'lora', loraRank: 2, freezeLayers: 1 }, /layer|embeddings.*|.*norm|bias|visual_projection/],
  ['vit', { tune: 'last-blocks', cachedViews: 2 }, /embeddings|pre_layrnorm|layers\.[01]\./],
  ['vit', { tune: 'head' }, /^vision_model/],
  ['resnet', { freezeLayers: 1 }, /stem|stages\.0\./],
  ['resnet', { tune: 'lora' }, /stem|bias|visual_projection/],
  ['resnet', { tune: 'last-blocks', cachedViews: 1 }, /stem|stages\.0\./],
  ['resnet', { tune: 'head' }, /^vision_model/],
];

describe.each(WAYS)('%s with %o', (tower, settings, stays) => {
  const data = dataOf(TOWERS[tower]);
  const folder = `${tower}-${JSON.stringify(settings).replace(/\W+/g, '-')}`;

  it('moves what it trains, leaves the rest as it was, and ends the same after stops', async () => {
    const heard: TrainProgress[] = [];
    const result = await run(data, folder, settings, { report: progress => heard.push(progress) });
    expect(result.steps).toBe(6);
    expect(Object.keys(result.teacher).sort()).toEqual(Object.keys(data.weights).sort());
    const lora = settings.tune === 'lora';
    for (const [name, weight] of Object.entries(data.weights)) {
      const kept = lora
        ? !/(_proj|fc[12]|conv[12]|downsample)\.weight/.test(name) || /layers\.0\./.test(name)
        : stays.test(name);
      for (const role of ['student', 'teacher'] as const) {
        if (kept) expect(result[role][name], `${role} ${name}`).toEqual(weight);
        else if (!/k_proj.bias/.test(name)) expect(result[role][name], `${role} ${name}`).not.toEqual(weight);
      }
    }
    const views = heard.filter(progress => progress.kind === 'activations');
    const cached = settings.tune === 'head' || settings.tune === 'last-blocks' ? 1 + (settings.cachedViews ?? 4) : 0;
    expect(views.at(-1)?.total ?? 0).toBe(cached * files.length);
    expect(existsSync(join(base, folder, 'activations'))).toBe(false);

    // Stopped in the first epoch and at the beginning of the second, then let end.
    for (const stop of [1, 3]) {
      const controller = new AbortController();
      const report = (progress: TrainProgress) =>
        progress.kind === 'step' && progress.step === stop && controller.abort();
      const stopped = run(data, `${folder}-stopped`, settings, { report, signal: controller.signal });
      await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    }
    const again: TrainProgress[] = [];
    expect(await run(data, `${folder}-stopped`, settings, { report: progress => again.push(progress) })).toEqual(
      result,
    );
    expect((await checkpointOf(`${folder}-stopped`)).equals(await checkpointOf(folder))).toBe(true);
    // Activations are computed once.
    expect(again.some(progress => progress.kind === 'activations')).toBe(false);
  });

  it('ends the same with several steps in a call', async () => {
    const single = await run(data, folder, settings);
    const calls = await run(data, `${folder}-calls`, { ...settings, stepsPerExecution: 2 });
    if (tower === 'vit') return expect(calls).toEqual(single);
    // In a loop convolutions are not computed in blocks of channels, and so sum in another order.
    expect({ ...calls, student: 0, teacher: 0 }).toEqual({ ...single, student: 0, teacher: 0 });
    for (const role of ['student', 'teacher'] as const) {
      for (const [name, weight] of Object.entries(single[role])) {
        expect(calls[role][name], `${role} ${name}`).toBeAllclose(weight, { rtol: 1e-3, atol: 1e-4 });
      }
    }
  });
});

describe('kept activations', () => {
  const data = dataOf(TOWERS.vit);

  it('train as computed ones do when every epoch has its view and images are square', async () => {
    const kept = await run(data, 'kept', { tune: 'last-blocks', freezeLayers: 2, cachedViews: 3 });
    const computed = await run(data, 'computed', { freezeLayers: 2 });
    expect(kept.structural).toEqual(computed.structural);
    for (const [name, weight] of Object.entries(computed.teacher)) {
      // The frozen part ran on other batches; the key's bias moves by rounding alone.
      if (name.endsWith('k_proj.bias')) continue;
      expect(kept.teacher[name], name).toBeAllclose(weight, { rtol: 1e-3, atol: 1e-4 });
    }
    // And not the same when epochs share views.
    const fewer = await run(data, 'fewer', { tune: 'last-blocks', freezeLayers: 2, cachedViews: 1 });
    const name = 'visual_projection.weight';
    const off = fewer.teacher[name].map((v, i) => Math.abs(v - computed.teacher[name][i]));
    expect(Math.max(...off)).toBeGreaterThan(1e-3);
  });

  it('pass over an image that cannot be read', async () => {
    await writeFile(join(base, 'bad.png'), 'no image');
    const some = [...files.slice(0, 7), 'bad.png'];
    const part = { files: some, structural: data.structural.slice(0, 8), clusters: data.clusters.slice(0, 8) };
    const result = await run({ ...data, ...part }, 'bad', { tune: 'head' });
    expect(result.failed.map(({ index }) => index)).toEqual([7]);
    expect(result.structural[7]).toBe(-1);
    expect(result.teacher['visual_projection.weight'].every(Number.isFinite)).toBe(true);
  });

  it('stopped while they are computed are computed again', async () => {
    const controller = new AbortController();
    const report = (progress: TrainProgress) => progress.kind === 'activations' && controller.abort();
    const stopped = run(data, 'half', { tune: 'head' }, { report, signal: controller.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    const whole = await run(data, 'whole', { tune: 'head' });
    expect(await run(data, 'half', { tune: 'head' })).toEqual(whole);
  });

  it.each(['gone', 'cut short'])('are computed again where their file is %s', async how => {
    const controller = new AbortController();
    const report = (progress: TrainProgress) => progress.kind === 'step' && controller.abort();
    const stopped = run(data, how, { tune: 'head' }, { report, signal: controller.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    const file = join(base, how, 'activations', 'views.f32');
    await (how === 'gone' ? rm(file) : truncate(file, 100));
    const again: TrainProgress[] = [];
    const result = await run(data, how, { tune: 'head' }, { report: progress => again.push(progress) });
    expect(result).toEqual(await run(data, 'undamaged', { tune: 'head' }));
    expect(again.filter(progress => progress.kind === 'activations')).not.toEqual([]);
  });

  it('leave the disk although the training was killed when it had just ended', async () => {
    const ended = await run(data, 'ended', { tune: 'head', epochs: 1 });
    await mkdir(join(base, 'ended', 'activations'));
    await writeFile(join(base, 'ended', 'activations', 'views.f32'), 'what the kill left');
    expect(await run(data, 'ended', { tune: 'head', epochs: 1 })).toEqual(ended);
    expect(existsSync(join(base, 'ended', 'activations'))).toBe(false);
  });
});

it('another way of tuning does not go on from a checkpoint', async () => {
  const data = dataOf(TOWERS.vit);
  await run(data, 'other', { tune: 'head', epochs: 1 });
  await expect(run(data, 'other', { tune: 'head', cachedViews: 2, epochs: 1 })).rejects.toMatchObject({
    code: 'CHECKPOINT',
    message: expect.stringMatching(/belongs to a training with other images, settings or labels$/),
  });
});
