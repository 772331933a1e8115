/** The loop: the same bytes whatever the workers, and after every kind of interruption. */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pattern } from '../../test/images.ts';
import { CLIP_MEAN, CLIP_STD } from '../clip/preprocess.ts';
import { parseClipConfig } from '../clip/towers/config.ts';
import { initialise } from '../clip/towers/initialise.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { readJsonl } from '../io/jsonl.ts';
import { random } from '../random.ts';
import { workerUrl } from '../worker-url.ts';
import { type TrainPlace, type TrainProgress, train } from './loop.ts';
import type { StepMetrics } from './metrics.ts';
import type { TrainData, TrainSettings, Weights } from './settings.ts';

const NAMES = 9;
const SETTINGS: TrainSettings = {
  epochs: 4,
  batchSize: 4,
  learningRate: 0.02,
  minLearningRate: 0.001,
  emaStart: 0.5,
  emaEnd: 0.9,
  emaSteps: 6,
  threshold: 0.2,
  renewFrom: 2,
  seed: 3,
  threads: 1,
  logEvery: 2,
};

let base: string;
let data: TrainData & { weights: Weights };

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 's3a-train-'));
  const files = Array.from({ length: 14 }, (_, i) => `${i}.png`);
  for (const [i, name] of files.entries()) {
    const { data, width, height } = pattern(20 + 2 * i, 40 - i);
    await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(base, name));
  }
  const vision_config = { hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2 };
  const config = parseClipConfig({
    projection_dim: 8,
    vision_config: { ...vision_config, image_size: 16, patch_size: 8 },
    text_config: { hidden_size: 8, num_hidden_layers: 1 },
  });
  const draw = random(1, 'prototypes');
  const prototypes = Float32Array.from({ length: NAMES * 8 }, () => draw.normal());
  for (let row = 0; row < NAMES; row++) {
    const values = prototypes.subarray(row * 8, row * 8 + 8);
    const length = Math.hypot(...values);
    values.set(values.map(v => v / length));
  }
  data = {
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
});
afterAll(() => rm(base, { recursive: true }));

async function run(folder: string, changes: TrainSettings = {}, place: Partial<TrainPlace> = {}, d: TrainData = data) {
  const result = await train(d, { ...SETTINGS, ...changes }, { folder: join(base, folder), ...place });
  const { weights, ...facts } = result;
  return { ...facts, student: await weights('student'), teacher: await weights('teacher') };
}

/** metrics.jsonl as text, without the one value that is a matter of time. */
async function metricsOf(folder: string): Promise<string> {
  return (await readFile(join(base, folder, 'metrics.jsonl'), 'utf8')).replace(/,"imagesPerSecond":[^}]*/g, '');
}

/** Everything a training leaves behind. */
async function remains(folder: string) {
  const checkpoints = join(base, folder, 'checkpoints');
  const [, tensors] = (await readdir(checkpoints)).sort();
  return { name: tensors, bytes: await readFile(join(checkpoints, tensors)), metrics: await metricsOf(folder) };
}

type Remains = Awaited<ReturnType<typeof remains>>;

/**
 * The same remains, but for the last digits of the gradients' norms: a kernel that makes the updates sums up their squares in
 * another order than a graph that has them as nodes.
 */
function expectSameButNorms(actual: Remains, expected: Remains): void {
  const norm = /"gradientNorm":([^,]*)/g;
  const normless = ({ metrics, ...rest }: Remains) => ({ ...rest, metrics: metrics.replace(norm, '') });
  const norms = ({ metrics }: Remains) => [...metrics.matchAll(norm)].map(([, value]) => Number(value));
  expect(normless(actual)).toEqual(normless(expected));
  expect(norms(actual)).toBeAllclose(norms(expected), { rtol: 1e-5 });
}

let reference: Remains;
let trained: Awaited<ReturnType<typeof run>>;
const heard: TrainProgress[] = [];

beforeAll(async () => {
  trained = await run('reference', {}, { report: progress => heard.push(progress) });
  reference = await remains('reference');
});

describe('a training', () => {
  it('goes through all steps, reports them and writes its metrics', async () => {
    expect(trained.steps).toBe(12);
    const lines = (await readJsonl(join(base, 'reference', 'metrics.jsonl'))) as StepMetrics[];
    expect(lines.map(line => [line.epoch, line.step])).toEqual([
      [0, 2],
      [0, 3],
      [1, 4],
      [1, 6],
      [2, 8],
      [2, 9],
      [3, 10],
      [3, 12],
    ]);
    for (const line of lines) {
      expect(line.loss).toBeCloseTo(line.instance + 0.25 * line.structural, 5);
      expect(line.imagesPerSecond).toBeGreaterThan(0);
    }
    const steps = heard.filter(progress => progress.kind === 'step');
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(steps.at(-1)).toMatchObject({ steps: 12, epochs: 4, secondsLeft: 0 });
    // Epochs 0 and 1 keep the labels of discovery.
    expect(heard.filter(progress => progress.kind === 'renew').map(({ epoch }) => epoch)).toEqual([2, 3]);
    const name = 'visual_projection.weight';
    expect(trained.student[name]).not.toEqual(data.weights[name]);
    expect(trained.teacher[name]).not.toEqual(trained.student[name]);
    expect(trained.structural).toHaveLength(14);
    expect(trained.structural.every(label => label >= 0 && label < NAMES)).toBe(true);
  });

  it('is the same with any number of workers and any cache', async () => {
    // The reference has none.
    for (const workers of [1, 2]) {
      await run(`workers ${workers}`, { workers, cacheBytes: workers * 20_000 });
      expect(await remains(`workers ${workers}`)).toEqual(reference);
    }
  });

  it('is the same with weights that are read when they are wanted, and held no longer', async () => {
    const read: Record<string, Float32Array>[] = [];
    const weights = async () => {
      read.push(structuredClone(data.weights));
      return read.at(-1)!;
    };
    await run('read', {}, {}, { ...data, weights });
    expect(await remains('read')).toEqual(reference);
    // The session has them.
    expect(read.flatMap(arrays => Object.values(arrays)).every(({ length }) => length === 0)).toBe(true);
  });

  it('depends on its seed', async () => {
    await run('seed', { seed: 4 });
    expect((await remains('seed')).bytes.equals(reference.bytes)).toBe(false);
  });

  it('gives its result again, without a step, when it was finished', async () => {
    const steps: TrainProgress[] = [];
    const again = await run('reference', {}, { report: progress => steps.push(progress) });
    expect(again).toEqual(trained);
    expect(steps).toEqual([]);
    expect(await remains('reference')).toEqual(reference);
  });
});

/** Stops a training after each of the given steps in turn, then lets it end. */
async function interrupted(folder: string, stops: readonly number[], d = data, changes: TrainSettings = {}) {
  for (const stop of stops) {
    const controller = new AbortController();
    const report = (progress: TrainProgress) => {
      if (progress.kind === 'step' && progress.step === stop) controller.abort();
    };
    await expect(run(folder, changes, { report, signal: controller.signal }, d)).rejects.toMatchObject({
      code: 'ABORTED',
      message: `training was stopped after step ${stop}`,
    });
  }
  return run(folder, changes, {}, d);
}

describe('a training that is interrupted and called again ends in the same bytes', () => {
  it('stopped between steps, at the end of an epoch, and in an epoch with new labels', async () => {
    expect(await interrupted('stopped', [1, 3, 5, 8])).toEqual(trained);
    expect(await remains('stopped')).toEqual(reference);
  });

  it('stopped while labels are made anew', async () => {
    const controller = new AbortController();
    const report = (progress: TrainProgress) => progress.kind === 'renew' && controller.abort();
    await expect(run('renewal', {}, { report, signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await run('renewal')).toEqual(trained);
    expect(await remains('renewal')).toEqual(reference);
  });

  it('in mixed precision, whose loss scale is part of a checkpoint', async () => {
    const folder = 'mixed whole';
    const whole = await run(folder, { precision: 'amp' });
    expect(await interrupted('mixed', [1, 5], data, { precision: 'amp' })).toEqual(whole);
    expect(await remains('mixed')).toEqual(await remains(folder));
    const lines = (await readJsonl(join(base, folder, 'metrics.jsonl'))) as StepMetrics[];
    expect(lines.map(({ lossScale }) => lossScale)).toEqual(lines.map(() => expect.any(Number)));
    expect((await remains(folder)).bytes.equals(reference.bytes)).toBe(false);
    // The same images, settings and seed: float16 moves the loss a little.
    const exact = (await readJsonl(join(base, 'reference', 'metrics.jsonl'))) as StepMetrics[];
    expect(lines.slice(0, 4).map(({ loss }) => loss)).toBeAllclose(
      exact.slice(0, 4).map(({ loss }) => loss),
      { rtol: 0.2, atol: 0.1 },
    );
  });

  it('killed with SIGKILL', async () => {
    for (const step of [2, 10]) await killedAfter(step, join(base, 'killed'));
    expect(await run('killed')).toEqual(trained);
    expect(await remains('killed')).toEqual(reference);
  });

  it('with activations kept before and computed again after', async () => {
    const vision_config = { ...(data.config.vision_config as object), num_hidden_layers: 3 };
    const config = parseClipConfig({ projection_dim: 8, vision_config, text_config: data.config.text_config });
    const deep = { ...data, config, weights: initialise(config, visionParameters(config), 2) };
    const whole = await run('deep', {}, {}, deep);
    const controller = new AbortController();
    const report = (progress: TrainProgress) => {
      if (progress.kind === 'step' && progress.step === 5) controller.abort();
    };
    const stopped = run('deep again', {}, { report, signal: controller.signal }, deep);
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await run('deep again', { gradCheckpointing: true }, {}, deep)).toEqual(whole);
    expectSameButNorms(await remains('deep again'), await remains('deep'));
  });

  it('in parts of a batch', async () => {
    const whole = await run('parts', { microBatch: 2 });
    expect(await interrupted('parts stopped', [5], data, { microBatch: 2 })).toEqual(whole);
    expect(await remains('parts stopped')).toEqual(await remains('parts'));
  });

  it('with a teacher that keeps to the names found, which renewals change', async () => {
    const whole = await run('found', { instanceNames: 'found' });
    expect(whole).not.toEqual(trained);
    expect(await interrupted('found stopped', [1, 8], data, { instanceNames: 'found' })).toEqual(whole);
    expect(await remains('found stopped')).toEqual(await remains('found'));
  });
});

describe('several steps in a call of the device', () => {
  // The stops fall between calls, amidst one and at the end of an epoch of 3 steps; what is left of a call runs to its end.
  it('give the same bytes as single steps, also after stops and with another number', async () => {
    for (const stepsPerExecution of [2, 3, 8]) {
      const folder = `calls ${stepsPerExecution}`;
      const steps: TrainProgress[] = [];
      const whole = await run(folder, { stepsPerExecution }, { report: p => p.kind === 'step' && steps.push(p) });
      expect(whole).toEqual(trained);
      expectSameButNorms(await remains(folder), reference);
      const known = heard.filter(progress => progress.kind === 'step');
      const timeless = (of: TrainProgress[]) =>
        of.map(p => ({ ...p, imagesPerSecond: 0, secondsLeft: 0, gradientNorm: 0 }));
      expect(timeless(steps)).toEqual(timeless(known));
      expect(steps.every(p => p.kind === 'step' && p.imagesPerSecond > 0)).toBe(true);
      expect(steps.at(-1)).toMatchObject({ secondsLeft: 0 });
    }
    const folder = 'calls stopped';
    for (const [stepsPerExecution, stop, last] of [
      [2, 1, 2],
      [8, 4, 6],
      [1, 7, 7],
      [3, 8, 9],
    ]) {
      const controller = new AbortController();
      const report = (p: TrainProgress) => p.kind === 'step' && p.step === stop && controller.abort();
      await expect(run(folder, { stepsPerExecution }, { report, signal: controller.signal })).rejects.toMatchObject({
        code: 'ABORTED',
        message: `training was stopped after step ${last}`,
      });
    }
    expect(await run(folder, { stepsPerExecution: 2 })).toEqual(trained);
    expectSameButNorms(await remains(folder), reference);
  });

  it('take the names found by a renewal from step to step', async () => {
    const single = await run('single found', { instanceNames: 'found' });
    expect(await run('calls found', { instanceNames: 'found', stepsPerExecution: 2 })).toEqual(single);
    expectSameButNorms(await remains('calls found'), await remains('single found'));
  });

  it.each([
    ['in mixed precision', { precision: 'amp' }],
    ['in parts of a batch', { microBatch: 2 }],
    ['with activations computed again', { gradCheckpointing: true }],
    ['with a clip', { clip: 0.5 }],
  ] as [string, TrainSettings][])('give the same bytes %s', async (how, changes) => {
    const single = await run(`single ${how}`, changes);
    for (const stepsPerExecution of [2, 8]) {
      const folder = `calls ${stepsPerExecution} ${how}`;
      expect(await run(folder, { ...changes, stepsPerExecution })).toEqual(single);
      expect(await remains(folder)).toEqual(await remains(`single ${how}`));
    }
  });

  it('skip the steps that overflow where single steps do', async () => {
    // Logits of 1e4 times a loss scale of 65536 are far above float16.
    const wild = { ...data, logitScale: 4000 };
    const changes: TrainSettings = { precision: 'amp', epochs: 3, logEvery: 1, threshold: 0 };
    await run('wild single', changes, {}, wild);
    await run('wild calls', { ...changes, stepsPerExecution: 8 }, {}, wild);
    expect(await remains('wild calls')).toEqual(await remains('wild single'));
    const lines = (await readJsonl(join(base, 'wild calls', 'metrics.jsonl'))) as StepMetrics[];
    expect(lines.some(({ gradientNorm }) => gradientNorm === 0)).toBe(true);
    expect(lines.at(-1)!.lossScale).toBeLessThan(65536);
  });

  it('end at the step whose loss is no number, as single steps do', async () => {
    const weights = { ...data.weights, 'visual_projection.weight': new Float32Array(8 * 16) };
    const diverged = run('calls diverged', { stepsPerExecution: 3 }, {}, { ...data, weights });
    await expect(diverged).rejects.toMatchObject({ code: 'DIVERGED', message: 'the loss is NaN at step 1' });
  });
});

/** Trains in a process of its own and kills it as soon as it reports the step. */
async function killedAfter(step: number, folder: string): Promise<void> {
  const encoded = JSON.stringify(data, (_, value: unknown) =>
    ArrayBuffer.isView(value) ? { array: value.constructor.name, values: [...(value as Float32Array)] } : value,
  );
  const loop = workerUrl('./loop.js', import.meta.url).href;
  const script = `
    import { train } from ${JSON.stringify(loop)};
    const arrays = { Float32Array, Int32Array };
    const data = JSON.parse(${JSON.stringify(encoded)}, (_, v) => (v?.array ? arrays[v.array].from(v.values) : v));
    const report = progress => progress.kind === 'step' && console.log(progress.step);
    await train(data, ${JSON.stringify(SETTINGS)}, { folder: ${JSON.stringify(folder)}, report });
  `;
  const child = spawn(process.execPath, ['--input-type=module'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<NodeJS.Signals | null>(resolve => child.on('exit', (_, signal) => resolve(signal)));
  child.stdin.end(script);
  for await (const line of createInterface({ input: child.stdout })) if (Number(line) === step) child.kill('SIGKILL');
  expect(await ended).toBe('SIGKILL');
}

describe('what can go wrong', () => {
  it('skips an image that cannot be read, and gives it no label', async () => {
    await writeFile(join(base, 'bad.png'), 'no image');
    const files = [...data.files.slice(0, 7), 'bad.png'];
    const part = { files, structural: data.structural.slice(0, 8), clusters: data.clusters.slice(0, 8) };
    const result = await run('bad', { epochs: 3 }, {}, { ...data, ...part });
    expect(result.steps).toBe(6);
    expect(result.failed.map(({ index }) => index)).toEqual([7]);
    expect(result.structural[7]).toBe(-1);
    expect(Object.values(result.teacher).every(values => values.every(Number.isFinite))).toBe(true);
  });

  it('says so when the batch shrinks', async () => {
    const notes: TrainProgress[] = [];
    const report = (progress: TrainProgress) => progress.kind === 'note' && notes.push(progress);
    const { steps } = await run('small', { batchSize: 64, epochs: 1 }, { report });
    expect(steps).toBe(1);
    expect(notes).toEqual([{ kind: 'note', message: 'the batch is 14 images instead of 64: there are 14 images' }]);
  });

  it('refuses the checkpoint of another training, and one that is damaged', async () => {
    await cp(join(base, 'reference'), join(base, 'damaged'), { recursive: true });
    await expect(run('damaged', { learningRate: 0.01 })).rejects.toMatchObject({
      code: 'CHECKPOINT',
      message: expect.stringMatching(/belongs to a training with other images, settings or labels$/),
    });
    await truncate(join(base, 'damaged', 'checkpoints', reference.name), 5000);
    await expect(run('damaged')).rejects.toMatchObject({ code: 'CHECKPOINT' });
  });

  it('ends when the loss is no number', async () => {
    const weights = { ...data.weights, 'visual_projection.weight': new Float32Array(8 * 16) };
    await expect(run('diverged', {}, {}, { ...data, weights })).rejects.toMatchObject({
      code: 'DIVERGED',
      message: 'the loss is NaN at step 1',
    });
  });

  it('refuses data that do not fit, before anything is written', async () => {
    const refused = (change: Partial<TrainData>) => expect(run('refused', {}, {}, { ...data, ...change })).rejects;
    await refused({ prototypes: new Float32Array(9) }).toThrow('9 values are not prototypes of width 8');
    await refused({ clusters: new Int32Array(3) }).toThrow('14 images, 14 structural labels and 3 cluster labels');
    await refused({ structural: data.structural.map(() => 9) }).toThrow('the structural label 9 of 0.png is no index');
    await refused({ weights: {} }).toThrow('the weight vision_model.embeddings.patch_embedding.weight has no values');
    await expect(run('refused', { threshold: Number.NaN })).rejects.toThrow('threshold is NaN');
    await expect(readdir(join(base, 'refused'))).rejects.toThrow('ENOENT');
  });
});
