/** Memory of training: peaks beside what is estimated, and whether 2,000 steps hold more than 200. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { CLIP_MEAN, CLIP_STD } from '../src/clip/preprocess.ts';
import { type ClipConfig, parseClipConfig } from '../src/clip/towers/config.ts';
import { initialise } from '../src/clip/towers/initialise.ts';
import { visionParameters } from '../src/clip/towers/vision.ts';
import { compile, type Program, sizeOf, type TensorData } from '../src/engine/index.ts';
import { random } from '../src/random.ts';
import { programMemory } from '../src/train/estimate.ts';
import { train } from '../src/train/loop.ts';
import { stepProgram } from '../src/train/step.ts';
import { tunePlan } from '../src/train/tune.ts';
import { startWeights } from '../src/train/weights.ts';

type Row = Record<string, string | number>;

const LARGE = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16 };
const TOWERS: Record<string, object> = {
  'vit-b-32': { vision_config: { patch_size: 32 } },
  'vit-b-16': { vision_config: { patch_size: 16 } },
  'vit-l-14': { projection_dim: 768, vision_config: { patch_size: 14, ...LARGE } },
};
/** Towers, images at once, and whether activations are computed again. */
const STEPS = ['vit-b-32 8', 'vit-b-32 32', 'vit-b-16 16', 'vit-b-16 16 checkpointing', 'vit-l-14 16 checkpointing'];

/** Peak and estimate of a step of each tower, each in a process of its own. */
export async function peakRows(wanted: (name: string) => boolean, steps: number, threads?: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const step of STEPS.filter(wanted)) {
    const args = ['training', '--part', 'one-peak', '--only', step, '--steps', String(steps)];
    if (threads) args.push('--threads', String(threads));
    const { stdout } = await promisify(execFile)(process.execPath, [process.argv[1], ...args]);
    rows.push(JSON.parse(stdout) as Row);
    process.stderr.write(stdout);
  }
  return rows;
}

/** The step of one tower in this process, which must have done nothing else. */
export async function peakOf(step: string, steps: number, threads?: number): Promise<Row> {
  const [tower, images, again] = step.split(' ');
  const [config, batch] = [parseClipConfig(TOWERS[tower]), Number(images)];
  const plan = tunePlan(config);
  const gradCheckpointing = again !== undefined;
  const graph = stepProgram({ config, batch, names: 1000, logitScale: 100, plan, gradCheckpointing });
  const { resident, live } = programMemory(graph, { lean: gradCheckpointing });
  const weights = initialise(config, visionParameters(config), 0);
  const gigabytes = (bytes: number): number => Math.round(bytes / 2 ** 20) / 1024;
  const before = process.memoryUsage().rss;
  const session = await compile(graph, { threads, lean: gradCheckpointing });
  const peaks: number[] = [];
  const seconds: number[] = [];
  try {
    await session.setState(startWeights(weights, plan, 0));
    const feeds = randomFeeds(graph);
    for (let i = 0; i < steps; i++) {
      const [began, { user }] = [performance.now(), process.cpuUsage()];
      await session.run({ ...feeds, step: Float32Array.of(i + 1), learningRate: Float32Array.of(1e-5) });
      seconds.push((performance.now() - began) / 1000, (process.cpuUsage().user - user) / 1e6);
      peaks.push(process.resourceUsage().maxRSS * 1024);
    }
  } finally {
    await session.dispose();
  }
  return {
    step,
    'estimate GiB': gigabytes(before + resident + live + 260e6),
    'peak GiB': gigabytes(peaks.at(-1)!),
    'after the first step': gigabytes(peaks[0]),
    'seconds of a step': Math.round(seconds.at(-2)!),
    'processor seconds': Math.round(seconds.at(-1)!),
  };
}

/** Normal numbers for all that a program is fed, and zeros for indices. */
export function randomFeeds(graph: Program): Record<string, TensorData> {
  const draw = random(0, 'bench training');
  const feeds: Record<string, TensorData> = {};
  for (const [name, { shape, dtype, source }] of graph.inputs) {
    if (source.kind === 'input' && source.state) continue;
    const length = sizeOf(shape);
    feeds[name] = dtype === 'int32' ? new Int32Array(length) : Float32Array.from({ length }, () => draw.normal());
  }
  return feeds;
}

/** MiB that may come and go: pages of threads, of the heap before it is collected. */
const SLACK = 24;

/**
 * Least resident memory in the 100 steps up to steps 200, 400, … of a whole training with loader, metrics and a checkpoint
 * amidst; the least, since what is not collected yet comes and goes.
 * @returns the rows, and whether the last is near the first
 */
export async function growthRows(steps: number, threads?: number): Promise<{ rows: Row[]; steady: boolean }> {
  const folder = await mkdtemp(join(tmpdir(), 's3a-bench-growth-'));
  try {
    const vision = { hidden_size: 64, intermediate_size: 128, num_hidden_layers: 3, num_attention_heads: 2 };
    const config = parseClipConfig({ projection_dim: 32, vision_config: { ...vision, image_size: 32, patch_size: 8 } });
    const files = await drawImages(folder, 4 * (steps / 2));
    const resident: number[] = [];
    const report = (progress: { kind: string }): void => {
      if (progress.kind === 'step') resident.push(process.memoryUsage().rss / 2 ** 20);
    };
    const data = { ...dataOf(config, files), root: folder };
    await train(data, { epochs: 2, batchSize: 4, renewFrom: 2, threads, workers: 1 }, { folder, report });
    const least = (end: number): number => Math.min(...resident.slice(end - 100, end));
    const rows = Array.from({ length: steps / 200 }, (_, i) => ({
      steps: 200 * (i + 1),
      'resident MiB': least(200 * (i + 1)),
    }));
    return { rows, steady: least(steps) - least(200) < SLACK };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Names of `count` images, which are sixteen. */
async function drawImages(folder: string, count: number): Promise<string[]> {
  for (let i = 0; i < 16; i++) {
    const noise = { type: 'gaussian' as const, mean: 100 + 5 * i, sigma: 40 };
    const image = sharp({ create: { width: 48, height: 40, channels: 3, background: '#000', noise } });
    await image.toFile(join(folder, `${i}.png`));
  }
  return Array.from({ length: count }, (_, i) => `${i % 16}.png`);
}

function dataOf(config: ClipConfig, files: readonly string[]) {
  const draw = random(0, 'bench growth');
  return {
    config,
    files,
    preprocess: { size: 32, mean: CLIP_MEAN, std: CLIP_STD },
    weights: initialise(config, visionParameters(config), 0),
    logitScale: 100,
    prototypes: Float32Array.from({ length: 50 * 32 }, () => draw.normal() / Math.sqrt(32)),
    structural: Int32Array.from(files, (_, i) => i % 16),
    clusters: Int32Array.from(files, (_, i) => i % 16),
  };
}
