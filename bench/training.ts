/** `npm run bench -- training`: what the ways of tuning cost and give, on draws of the demo and on a CLIP of full size. */
import { existsSync } from 'node:fs';
import { appendFile, cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawDemoImages } from '../demo/dataset.ts';
import { parseClipConfig } from '../src/clip/towers/config.ts';
import { initialise } from '../src/clip/towers/initialise.ts';
import { visionParameters } from '../src/clip/towers/vision.ts';
import { settingsOf } from '../src/config/resolve.ts';
import { compile, sizeOf } from '../src/engine/index.ts';
import { discover, evaluateRun, type FitOptions, train } from '../src/index.ts';
import { readJsonl } from '../src/io/jsonl.ts';
import { writeTable } from '../src/io/table.ts';
import { stepProgram, trainedShapes } from '../src/train/step.ts';
import { frozenPart } from '../src/train/tower.ts';
import { type TuneSettings, tunePlan } from '../src/train/tune.ts';
import { startWeights } from '../src/train/weights.ts';
import { secondsOf, summarise } from './report.ts';
import { estimateRows } from './training-estimate.ts';
import { growthRows, peakOf, peakRows, randomFeeds } from './training-memory.ts';

type Settings = Omit<FitOptions, 'images' | 'out'>;

/** Ways of tuning the demo's tower of three stages, and the settings in which they differ from the preset quick. */
const DEMO: Record<string, Settings> = {
  full: {},
  'freeze-layers 1': { freezeLayers: 1 },
  'freeze-layers 2': { freezeLayers: 2 },
  'lora rank 8': { tune: 'lora' },
  'lora rank 8, lr x 5': { tune: 'lora', lr: 5e-3, minLr: 2.5e-4 },
  'last-blocks 2 of 3, 4 views': { tune: 'last-blocks', freezeLayers: 1 },
  'last-blocks 2 of 3, 10 views': { tune: 'last-blocks', freezeLayers: 1, cachedViews: 10 },
  'last-blocks 1 of 3, 4 views': { tune: 'last-blocks' },
  'head, 4 views': { tune: 'head' },
  'head, 4 views, lr x 5': { tune: 'head', lr: 5e-3, minLr: 2.5e-4 },
};

/** Ways of tuning a vision transformer of twelve blocks. */
const LARGE: Record<string, TuneSettings> = {
  full: {},
  'patch-dropout 0.5': { patchDropout: 0.5 },
  'freeze-layers 6': { freezeLayers: 6 },
  'freeze-layers 9': { freezeLayers: 9 },
  'freeze-layers 6, patch-dropout 0.5': { freezeLayers: 6, patchDropout: 0.5 },
  'lora rank 8': { tune: 'lora' },
  'lora rank 8, freeze-layers 6': { tune: 'lora', freezeLayers: 6 },
  'last-blocks (2)': { tune: 'last-blocks', freezeLayers: 10 },
  'last-blocks (4)': { tune: 'last-blocks' },
  head: { tune: 'head' },
};

/** Runs `npm run bench -- training`. */
export async function benchTraining(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      part: { type: 'string', default: 'demo,speed' },
      only: { type: 'string', default: '' },
      seeds: { type: 'string', default: '2' },
      seed: { type: 'string', default: '0' },
      steps: { type: 'string', default: '3' },
      batch: { type: 'string', default: '8' },
      threads: { type: 'string' },
      work: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const threads = values.threads === undefined ? undefined : Number(values.threads);
  const wanted = <T>(ways: Record<string, T>): [string, T][] =>
    Object.entries(ways).filter(([name]) => values.only.split(',').some(part => name.includes(part)));
  if (values.part.includes('demo')) {
    const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => Number(values.seed) + i);
    const work = values.work ?? (await mkdtemp(join(tmpdir(), 's3a-bench-training-')));
    try {
      show('demo', await demoRows(wanted(DEMO), seeds, work, threads), values.json);
    } finally {
      if (values.work === undefined) await rm(work, { recursive: true, force: true });
    }
  }
  const steps = Number(values.steps);
  if (values.part === 'one-peak') console.log(JSON.stringify(await peakOf(values.only, steps, threads)));
  const named = (name: string): boolean => values.only.split(',').some(part => name.includes(part));
  if (values.part.includes('estimate')) show('estimate', await estimateRows(named, values.work), values.json);
  if (values.part.includes('memory')) {
    show('memory', await peakRows(named, steps, threads), values.json);
  }
  if (values.part.includes('growth')) {
    const { rows, steady } = await growthRows(2000, threads);
    show('growth', rows, values.json);
    if (!steady) throw new Error('memory grows from step to step');
  }
  if (values.part.includes('speed')) {
    const rows = await speedRows(wanted(LARGE), Number(values.batch), steps, threads);
    show('ViT-B/32', rows, values.json);
  }
}

/** Labels before the training, what both networks say, and the images named anew by the teacher's features. */
const STAGES = ['structural', 'student', 'teacher', 'renewed'];

type Row = Record<string, string | number>;

/**
 * Accuracy of student and teacher and the time of the stage, means over draws; discovery is done once a draw.
 * @param work folder of images, runs and rows; what is there already is not done again
 */
async function demoRows(
  ways: [string, Settings][],
  seeds: readonly number[],
  work: string,
  threads?: number,
): Promise<Row[]> {
  const path = join(work, 'rows.jsonl');
  const known = existsSync(path) ? ((await readJsonl(path)) as (Row & { seed: number; figures: number[] })[]) : [];
  const measured = new Map<string, number[][]>();
  for (const seed of seeds) {
    const [found, truth] = [join(work, `found-${seed}`), join(work, `truth-${seed}.csv`)];
    if (!existsSync(join(found, 'labels.csv'))) await findNames(seed, work, found, truth, threads);
    for (const [way, settings] of ways) {
      let figures = known.find(row => row.way === way && row.seed === seed)?.figures;
      if (!figures) {
        const run = join(work, `run-${way.replace(/\W+/g, '-')}`);
        await rm(run, { recursive: true, force: true });
        await cp(found, run, { recursive: true });
        const [began, used] = [performance.now(), process.cpuUsage()];
        await train(run, { ...settings, threads });
        const { user, system } = process.cpuUsage(used);
        const seconds = [(performance.now() - began) / 1000, (user + system) / 1e6];
        const { stages } = await evaluateRun(run, truth);
        figures = [...STAGES.map(stage => 100 * stages[stage].accuracy[1]), ...seconds];
        await appendFile(path, `${JSON.stringify({ way, seed, figures })}\n`);
        await rm(run, { recursive: true });
      }
      measured.set(way, [...(measured.get(way) ?? []), figures]);
      process.stderr.write(`seed ${seed}, ${way}: ${figures.map(value => value.toFixed(1)).join(' ')}\n`);
    }
  }
  const columns = [...STAGES, 'seconds', 'processor seconds'];
  return [...measured].map(([way, rows]) => {
    const means = columns.map((column, i) => [column, rows.reduce((sum, row) => sum + row[i], 0) / rows.length]);
    return { way, ...Object.fromEntries(means) };
  });
}

/** Draws images with their truth kept aside, and names and labels them. */
async function findNames(seed: number, work: string, found: string, truth: string, threads?: number): Promise<void> {
  const images = join(work, `images-${seed}`);
  for (const folder of [images, found]) await rm(folder, { recursive: true, force: true });
  await mkdir(images, { recursive: true });
  const drawn = await drawDemoImages({ seed, classes: 30, perClass: 40, outDir: images });
  await writeTable(truth, [
    { name: 'file_name', type: 'text', values: Object.keys(drawn.truth) },
    { name: 'label', type: 'text', values: Object.values(drawn.truth) },
  ]);
  await discover({ ...settingsOf('quick'), model: 'demo', vocab: 'demo', seed, threads, images, out: found });
}

/** Images a second of the step alone (both towers, losses, updates) on random weights, and what is held between steps. */
async function speedRows(
  ways: [string, TuneSettings][],
  batch: number,
  steps: number,
  threads?: number,
): Promise<Row[]> {
  const config = parseClipConfig({ vision_config: { patch_size: 32 } });
  const weights = initialise(config, visionParameters(config), 0);
  const rows: Row[] = [];
  for (const [way, settings] of ways) {
    const plan = tunePlan(config, settings);
    const graph = stepProgram({ config, batch, names: 1000, logitScale: 100, plan });
    const row: Row = { way, 'images/s': await pace(graph, startWeights(weights, plan, 0), batch, steps, threads) };
    const trained = trainedShapes(config, plan);
    row['trained weights'] = Object.entries(trained)
      .filter(([name]) => name.startsWith('student.'))
      .reduce((sum, [, shape]) => sum + sizeOf(shape), 0);
    if (plan.cachedViews > 0) {
      const part = frozenPart(config, plan, batch);
      row['images/s of the frozen part'] = await pace(part, startWeights(weights, plan, 0), batch, steps, threads);
      row['bytes an image and view'] =
        4 * [...frozenPart(config, plan, 1).outputs.values()].reduce((sum, t) => sum + sizeOf(t.shape), 0);
    }
    rows.push(row);
    process.stderr.write(`${JSON.stringify(row)}\n`);
  }
  return rows;
}

/** Median images a second of a program after one run that does not count. */
async function pace(
  graph: ReturnType<typeof stepProgram>,
  states: Record<string, Float32Array>,
  batch: number,
  runs: number,
  threads?: number,
): Promise<number> {
  const session = await compile(graph, {
    threads,
    frozen: [...graph.inputs.keys()].some(name => name.startsWith('frozen.')),
  });
  try {
    await session.setState(Object.fromEntries(Object.entries(states).filter(([name]) => graph.inputs.has(name))));
    const feeds = randomFeeds(graph);
    const [, ...seconds] = await secondsOf(runs + 1, () => session.run(feeds));
    return batch / summarise(seconds).median;
  } finally {
    await session.dispose();
  }
}

function show(title: string, rows: readonly Row[], json: boolean): void {
  if (json) {
    console.log(JSON.stringify({ bench: 'training', title, rows }));
    return;
  }
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))];
  const cell = (value: string | number | undefined): string =>
    typeof value === 'number' ? (Number.isInteger(value) ? String(value) : value.toFixed(1)) : (value ?? '');
  console.log(`\n${title}\n\n| ${columns.join(' | ')} |\n|${columns.map(() => '---').join('|')}|`);
  for (const row of rows) console.log(`| ${columns.map(column => cell(row[column])).join(' | ')} |`);
}
