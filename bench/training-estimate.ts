/** What `s3a fit --dry-run` says, beside what the whole fit then takes: its peak and the time of the stage `train`. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { drawDemoImages } from '../demo/dataset.ts';
import { clipParameters } from '../src/clip/checkpoint/checkpoint.ts';
import { saveCheckpoint } from '../src/clip/checkpoint/save.ts';
import { CLIP_MEAN, CLIP_STD } from '../src/clip/preprocess.ts';
import { parseClipConfig } from '../src/clip/towers/config.ts';
import { initialise } from '../src/clip/towers/initialise.ts';
import { readJson } from '../src/io/json.ts';
import type { TrainEstimate } from '../src/run/train-estimate.ts';

type Row = Record<string, string | number>;

const LARGE = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16 };
const LARGE_TEXT = { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
/** Models with random weights; `demo` is the one in the package. */
const MODELS: Record<string, object> = {
  'vit-b-32': { vision_config: { patch_size: 32 } },
  'vit-l-14': { projection_dim: 768, vision_config: { patch_size: 14, ...LARGE }, text_config: LARGE_TEXT },
};

interface Fit {
  readonly model: string;
  readonly images: number;
  readonly flags: string;
}

const CPU = '--preset cpu --k 5 --epochs 1';
/** Whole fits by name. */
const FITS: Record<string, Fit> = {
  'demo 64': { model: 'demo', images: 240, flags: '--preset quick --epochs 3 --tune full' },
  'vit-b-32 8': { model: 'vit-b-32', images: 48, flags: `${CPU} --batch-size 8 --tune full` },
  'vit-b-32 8 renewed': { model: 'vit-b-32', images: 48, flags: `${CPU} --batch-size 8 --tune full --renew-from 0` },
  'vit-b-32 8 checkpointing': {
    ...{ model: 'vit-b-32', images: 48 },
    flags: `${CPU} --batch-size 8 --tune full --grad-checkpointing`,
  },
  'vit-b-32 8 last-blocks': { model: 'vit-b-32', images: 48, flags: `${CPU} --batch-size 8 --tune last-blocks` },
  'vit-b-32 8 lora': { model: 'vit-b-32', images: 48, flags: `${CPU} --batch-size 8 --tune lora` },
  'vit-l-14 16 checkpointing': {
    ...{ model: 'vit-l-14', images: 16 },
    flags: '--preset cpu --k 5 --epochs 2 --batch-size 16 --tune full --grad-checkpointing',
  },
};

const NAMES = ['dog', 'cat', 'car', 'tree', 'house', 'bird', 'flower', 'boat', 'horse'];

/**
 * Estimate and outcome of each fit, each in processes of their own.
 * @param work folder of models, images and runs; models and images that are there are used again
 */
export async function estimateRows(wanted: (name: string) => boolean, work?: string): Promise<Row[]> {
  if (!existsSync('/proc/self/status')) throw new Error('peaks are read from /proc, which this system lacks');
  const folder = work ?? (await mkdtemp(join(tmpdir(), 's3a-bench-estimate-')));
  try {
    const rows: Row[] = [];
    for (const [name, fit] of Object.entries(FITS).filter(([name]) => wanted(name))) {
      rows.push(await compared(name, fit, folder));
      process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
    }
    return rows;
  } finally {
    if (work === undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function compared(name: string, { model, images, flags }: Fit, work: string): Promise<Row> {
  const [out, cache] = [join(work, 'run'), join(work, 'cache')];
  const args = ['fit', await imagesIn(work, model, images), ...(await modelArgs(work, model)), ...flags.split(' ')];
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, ...args, '--dry-run', '--json']);
  const { training } = JSON.parse(stdout) as { training: TrainEstimate };
  // Prototypes of another run would save this one the text tower.
  for (const path of [out, cache]) await rm(path, { recursive: true, force: true });
  const peak = await peakOf([...args, '--out', out, '--quiet'], cache);
  const { stages } = (await readJson(join(out, 'manifest.json'))) as { stages: { train: { seconds: number } } };
  const gib = (bytes: number): number => Math.round((100 * bytes) / 2 ** 30) / 100;
  const percent = (said: number, was: number): string =>
    `${said > was ? '+' : ''}${Math.round(100 * (said / was - 1))} %`;
  return {
    fit: name,
    'estimate GiB': gib(training.memory),
    'peak GiB': gib(peak),
    memory: percent(training.memory, peak),
    'estimate s': Math.round(training.seconds),
    'train s': Math.round(stages.train.seconds),
    time: percent(training.seconds, stages.train.seconds),
    stages: training.stages.map(({ stage, bytes }) => `${stage} ${gib(bytes)}`).join(', '),
  };
}

const CLI = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

/** Most bytes that a run of the executable was resident with. */
async function peakOf(args: readonly string[], cache: string): Promise<number> {
  const env = { ...process.env, S3A_CACHE: cache };
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  let peak = 0;
  const look = (): void => {
    try {
      const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? [];
      if (kilobytes !== undefined) peak = 1024 * Number(kilobytes);
    } catch {
      // It has ended.
    }
  };
  const timer = setInterval(look, 50);
  const code = await new Promise(resolve => child.on('exit', resolve));
  clearInterval(timer);
  if (code !== 0) throw new Error(`s3a ${args.join(' ')} ended with ${code}`);
  return peak;
}

async function modelArgs(work: string, model: string): Promise<string[]> {
  if (model === 'demo') return ['--model', 'demo', '--vocab', 'demo'];
  const [folder, names] = [join(work, model), join(work, 'names.txt')];
  if (!existsSync(join(folder, 'config.json'))) {
    const config = parseClipConfig(MODELS[model]);
    const weights = initialise(config, clipParameters(config), 0);
    const preprocess = { size: 224, mean: CLIP_MEAN, std: CLIP_STD };
    await saveCheckpoint(folder, {
      config,
      preprocess,
      tokenizerFiles: { tokenizer: undefined, tokenizerConfig: undefined },
      weights,
    });
    // Where there is none, the program takes OpenAI's.
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) await rm(join(folder, name));
  }
  await writeFile(names, `${NAMES.join('\n')}\n`);
  return ['--model', folder, '--vocab', names];
}

/** Drawings for the model of the demo, else noise of the size of photographs in the web. */
async function imagesIn(work: string, model: string, count: number): Promise<string> {
  const folder = join(work, `images-${model === 'demo' ? 'demo' : count}`);
  if (existsSync(folder)) return folder;
  if (model === 'demo') {
    await drawDemoImages({ seed: 0, classes: 12, perClass: count / 12, outDir: folder });
    return folder;
  }
  await mkdir(folder, { recursive: true });
  for (let i = 0; i < count; i++) {
    const noise = { type: 'gaussian' as const, mean: 60 + 3 * i, sigma: 40 };
    const image = sharp({ create: { width: 500, height: 375, channels: 3, background: '#000', noise } });
    await image.jpeg().toFile(join(folder, `${i}.jpg`));
  }
  return folder;
}
