/** How fast a training goes on this machine, from some of its own steps on some of its own images. */
import { compile, type Program, type SessionOptions, sizeOf, type TensorData } from '../engine/index.ts';
import { random } from '../random.ts';
import { callsOf } from './calls.ts';
import { feedsOf, labelsFor } from './feeds.ts';
import type { TrainData, Weights } from './settings.ts';
import { imageSource, type SourceBatch } from './source.ts';
import type { TunePlan } from './tune.ts';
import { wholeTower } from './whole-tower.ts';

/** Seconds of parts of a training. */
export interface Pace {
  /** What the first run takes longer than those after it: its memory is new. */
  readonly begin: number;
  /** A run of the step's graph in the first epoch, and in those after it, when decoded images are kept. */
  readonly first: number;
  readonly later: number;
  /** One image of a pass over all of them, embedded. */
  readonly embed: number;
  /** What happens once: compiling the step, and the tower that embeds. */
  readonly compileStep: number;
  readonly compileTower: number;
}

export interface PaceOptions extends SessionOptions {
  data: Pick<TrainData, 'config' | 'preprocess' | 'root' | 'files'> & { weights: Weights };
  plan: TunePlan;
  /** The step of `stepProgram`, the rows of one run of it, and runs of a call at most. */
  graph: Program;
  rows: number;
  calls: number;
  /** States that it begins with. */
  states: Readonly<Record<string, Float32Array>>;
  workers?: number;
  cacheBytes?: number;
}

/** Runs of the graph, and images embedded, at most, and seconds after which there are enough of them. */
const RUNS = 16;
const IMAGES = 128;
const ENOUGH = 6;

/** Measures a training that has not begun; the images are its own, with loading as it will be, and nothing is written. */
export async function measurePace(options: PaceOptions): Promise<Pace> {
  return { ...(await stepPace(options)), ...(await embedPace(options)) };
}

async function stepPace(options: PaceOptions): Promise<Pick<Pace, 'begin' | 'first' | 'later' | 'compileStep'>> {
  const { graph, lean, rows, calls, states, plan, device, threads } = options;
  const began = performance.now();
  const frozen = plan.frozen.length > 0 || 'cuda';
  const session = await compile(graph, { device, threads, lean, frozen, steps: calls > 1 ? calls : undefined });
  try {
    await session.setState(Object.fromEntries(Object.entries(states).filter(([name]) => graph.inputs.has(name))));
    const compileStep = since(began);
    const scalars: Record<string, number> = {};
    for (const [name, { shape, source }] of graph.inputs) {
      if (source.kind === 'input' && !source.state && shape.length === 0)
        scalars[name] = name === 'learningRate' ? 0 : 1;
    }
    const labels = labelsFor(graph, new Int32Array(options.data.files.length));
    const fed = async function* () {
      for await (const { batch, epoch } of someBatches(options))
        yield { feeds: feedsOf(batch, labels, rows, graph, scalars), epoch };
    };
    const spans: { epoch: number; seconds: number }[] = [];
    const start = performance.now();
    let last = start;
    let count = 0;
    for await (const call of callsOf(fed(), { most: calls, total: Infinity, runs: 1 })) {
      await session.run(call.feeds);
      const now = performance.now();
      // The runs of a call took equally long.
      const seconds = (now - last) / 1000 / call.runs.length;
      spans.push(...call.runs.map(({ epoch }) => ({ epoch, seconds })));
      last = now;
      count++;
      // The first call takes its memory; where it takes longer than all others may, it has to do.
      if (spans.length >= Math.max(RUNS, 3 * calls) || since(start) > ENOUGH * (count > 1 ? 1 : 3)) break;
    }
    const first = settled(spans.filter(({ epoch }) => epoch === 0).map(({ seconds }) => seconds));
    const more = spans.filter(({ epoch }) => epoch > 0).map(({ seconds }) => seconds);
    const begin = Math.min(calls, spans.length) * Math.max(0, spans[0].seconds - first);
    return { begin, first, later: more.length > 0 ? settled(more) : first, compileStep };
  } finally {
    await session.dispose();
  }
}

/** Mean of the later half: at first, what was read ahead waits already, and memory is new. */
function settled(seconds: readonly number[]): number {
  const later = seconds.slice(Math.floor(seconds.length / 2));
  return later.reduce((sum, value) => sum + value, 0) / later.length;
}

/** Epochs over a sample of the images, of which the share is kept in memory that will be; noise for kept activations. */
async function* someBatches(options: PaceOptions): AsyncGenerator<{ batch: SourceBatch; epoch: number }> {
  const { data, plan, graph, rows, calls, workers, cacheBytes = 0 } = options;
  if (plan.cachedViews > 0) {
    const batch = { indices: Int32Array.from({ length: rows }, (_, i) => i), inputs: noise(graph), failed: [] };
    for (let run = 0; run < Math.max(RUNS, 3 * calls); run++) yield { batch, epoch: 0 };
    return;
  }
  const files = someOf(data.files, (rows * RUNS) / 2);
  const share = Math.floor((cacheBytes * files.length) / data.files.length);
  const source = imageSource({ ...data, files }, plan, { seed: 0, workers, cacheBytes: share });
  try {
    const indices = Int32Array.from({ length: files.length - (files.length % rows) }, (_, i) => i);
    for (let epoch = 0; epoch <= RUNS + calls; epoch++) {
      for await (const batch of source.batches({ indices, batchSize: rows, epoch })) yield { batch, epoch };
    }
  } finally {
    await source.dispose();
  }
}

async function embedPace(options: PaceOptions): Promise<Pick<Pace, 'embed' | 'compileTower'>> {
  const files = someOf(options.data.files, IMAGES);
  const began = performance.now();
  const tower = await wholeTower({ ...options, ...options.data, files });
  try {
    const compileTower = since(began);
    let start = performance.now();
    await tower.embedAll(options.data.weights);
    if (since(start) < ENOUGH) {
      start = performance.now();
      await tower.embedAll(options.data.weights);
    }
    return { embed: since(start) / files.length, compileTower };
  } finally {
    await tower.dispose();
  }
}

/** Some files from all over the list. */
function someOf(files: readonly string[], most: number): string[] {
  const count = Math.min(files.length, Math.floor(most));
  return Array.from({ length: count }, (_, i) => files[Math.floor((i * files.length) / count)]);
}

/** Inputs of the views of a step on kept activations. */
function noise(graph: Program): Record<string, TensorData> {
  const draw = random(0, 'pace');
  const views = [...graph.inputs].filter(([name]) => /^(weak|strong)\b/.test(name));
  return Object.fromEntries(
    views.map(([name, { shape }]) => [name, Float32Array.from({ length: sizeOf(shape) }, () => draw.normal())]),
  );
}

const since = (began: number): number => (performance.now() - began) / 1000;
