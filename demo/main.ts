/**
 * `npm run demo`: draws a folder of unlabelled images, lets `fit` name and label them with the embedded tiny CLIP, and
 * only then compares with the truth that was kept aside.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRenderer } from '../src/cli/render.ts';
import { processTerminal } from '../src/cli/terminal.ts';
import { settingsOf } from '../src/config/resolve.ts';
import { type Config, parseConfig } from '../src/config/schema.ts';
import { messageOf, S3aError } from '../src/errors.ts';
import { evaluateRun, fit, predict } from '../src/index.ts';
import { writeTable } from '../src/io/table.ts';
import { type DemoImages, drawDemoImages } from './dataset.ts';
import { type DemoResult, meanOf, showTable } from './report.ts';

const usage = `npm run demo -- [options]
  --seeds N        how many draws of classes and images to average over (default 1)
  --seed N         the first seed (default 0)
  --classes N      noun classes a draw (default 30)
  --per-class N    images a class (default 40)
  --method M       auto, or s3a as the paper has it (default auto)
  --out DIR        where images and runs go (default runs/demo)
  --threads N      threads of the arithmetic
  --json           print one JSON object on stdout instead of the table`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1' },
      seed: { type: 'string', default: '0' },
      classes: { type: 'string', default: '30' },
      'per-class': { type: 'string', default: '40' },
      method: { type: 'string', default: 'auto' },
      out: { type: 'string', default: join('runs', 'demo') },
      threads: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${usage}\n`);
    return;
  }
  const count = positive('seeds', values.seeds);
  const { method } = parseConfig({ method: values.method });
  const first = Number(values.seed);
  const results: DemoResult[] = [];
  for (let seed = first; seed < first + count; seed++) {
    results.push(
      await demo({
        seed,
        classes: positive('classes', values.classes),
        perClass: positive('per-class', values['per-class']),
        method,
        folder: join(values.out, `seed-${seed}`),
        threads: values.threads === undefined ? undefined : positive('threads', values.threads),
      }),
    );
    if (!values.json) process.stdout.write(showTable(results.at(-1)!));
  }
  const mean = meanOf(results);
  if (values.json) process.stdout.write(`${JSON.stringify({ seeds: results, mean })}\n`);
  else if (count > 1) process.stdout.write(showTable(mean, `Mean of ${count} seeds`));
}

interface DemoOptions {
  seed: number;
  classes: number;
  perClass: number;
  method: Config['method'];
  folder: string;
  threads?: number;
}

/** One seed: draw, fit without labels, compare. */
async function demo({ seed, classes, perClass, method, folder, threads }: DemoOptions): Promise<DemoResult> {
  const started = performance.now();
  const [images, fresh, run] = ['images', 'new-images', 'run'].map(name => join(folder, name));
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  process.stderr.write(`Drawing ${classes * perClass} images of ${classes} kinds of things (seed ${seed})\n`);
  const drawn = await drawDemoImages({ seed, classes, perClass, outDir: images });

  // All that `fit` gets: a folder, a model, and a vocabulary of about 1,500 names.
  const common = { model: 'demo', vocab: 'demo', threads };
  const settings = { ...settingsOf('quick'), ...common, method, seed };
  const progress = createRenderer(processTerminal());
  await fit({ ...settings, images, out: run }, { onEvent: progress.onEvent });
  progress.clear();

  // Only now the truth.
  const truth = join(folder, 'truth.csv');
  await writeTruth(truth, drawn);
  const report = await evaluateRun(run, truth);
  const again = await drawDemoImages({ seed, classes, perClass: 10, outDir: fresh, draw: 'new' });
  const top1 = (name: string): number => report.stages[name].accuracy[1];
  return {
    seed,
    images: report.images,
    classes: report.classes,
    zeroShot: top1('zero_shot'),
    bound: report.bound!.accuracy[1],
    kmeans: report.clusters.accuracy,
    steps: Object.fromEntries(
      Object.keys(report.stages)
        .filter(name => name !== 'zero_shot')
        .map(name => [name, top1(name)]),
    ),
    namesFound: report.stages.structural.names.found.length,
    missed: report.stages.structural.names.missing,
    newImages: {
      zeroShot: rightShare(await predict('demo', fresh, common), again),
      teacher: rightShare(await predict(run, fresh, { ...common, wholeVocabulary: true }), again),
    },
    run,
    seconds: Math.round((performance.now() - started) / 1000),
  };
}

async function writeTruth(path: string, { truth }: DemoImages): Promise<void> {
  await writeTable(path, [
    { name: 'file_name', type: 'text', values: Object.keys(truth) },
    { name: 'label', type: 'text', values: Object.values(truth) },
  ]);
}

function rightShare(rows: readonly { file_name: string; label: string | null }[], { truth }: DemoImages): number {
  return rows.filter(({ file_name, label }) => truth[file_name] === label).length / rows.length;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    throw new S3aError('CONFIG', `--${flag} is ${text}`, 'Give a whole number from 1.');
  }
  return value;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`demo: ${messageOf(error)}${error instanceof S3aError && error.hint ? ` ${error.hint}` : ''}\n`);
  process.exitCode = 1;
}
