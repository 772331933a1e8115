/** Discovery on features of many images that stay in a file: time of each step, time an image, and peak memory. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cluster } from '../src/discover/cluster.ts';
import { NameSearch } from '../src/discover/nearest.ts';
import { openRows } from '../src/discover/npy-rows.ts';
import { realign } from '../src/discover/realign.ts';
import { topNames, vote } from '../src/discover/vote.ts';
import { writeAtomic } from '../src/io/atomic-write.ts';
import { readJson } from '../src/io/json.ts';
import { createNpyWriter } from '../src/io/npy.ts';
import { direction, mixtureRows, vocabularyRows } from './discovery-data.ts';

interface ScaleRow {
  name: string;
  images: number;
  seconds: Record<'cluster' | 'nearest' | 'vote' | 'realign' | 'total', number>;
  cpu: number;
  microsecondsAnImage: number;
  iterations: number;
  inertia: number;
  /** Share of the images whose label is the name of their kind, before and after the phrases. */
  found: { vote: number; realign: number };
  /** Most memory that the process has held so far, in GB; sizes rise, so it is that of the largest. */
  peakGigabytes: number;
}

const WIDTH = 512;

/** Runs `npm run bench -- scale`. */
export async function benchScale(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      images: { type: 'string', default: '10000,30000,100000' },
      k: { type: 'string', default: '1000' },
      names: { type: 'string', default: '20071' },
      iterations: { type: 'string', default: '50' },
      threads: { type: 'string', default: String(availableParallelism()) },
      folder: { type: 'string', default: join(tmpdir(), 's3a-scale') },
      again: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const [k, names, iterations, threads] = [values.k, values.names, values.iterations, values.threads].map(Number);
  const sizes = values.images
    .split(',')
    .map(Number)
    .sort((a, b) => a - b);
  await mkdir(values.folder, { recursive: true });
  const prototypes = vocabularyRows(names, WIDTH, k);
  const rows: ScaleRow[] = [];
  for (const images of sizes) {
    const path = join(values.folder, `features-${images}-${k}.npy`);
    if (!existsSync(path)) await generate(path, images, k);
    // A size that was finished before counts: the largest takes minutes, and memory is that of the process that ran it.
    const done = join(values.folder, `result-${images}-${k}-${names}-${iterations}-${threads}.json`);
    const kept = !values.again && existsSync(done) ? ((await readJson(done)) as ScaleRow) : undefined;
    const row = kept ?? (await discover(path, prototypes, k, { iterations, threads }));
    if (!kept) await writeAtomic(done, JSON.stringify(row));
    rows.push(row);
    if (!values.json) console.log(describe(row));
  }
  const exponent = rows.length > 1 ? slope(rows) : undefined;
  if (values.json) console.log(JSON.stringify({ bench: 'scale', width: WIDTH, k, names, threads, exponent, rows }));
  else if (exponent !== undefined) console.log(`time grows as images^${exponent.toFixed(3)}`);
}

/** The same images whatever the number of those behind them, as float16. */
async function generate(path: string, images: number, k: number): Promise<void> {
  const source = mixtureRows(WIDTH, k);
  const writer = await createNpyWriter(path, '<f2', [images, WIDTH]);
  for (let start = 0; start < images; start += 1024) {
    const block = new Float32Array(Math.min(1024, images - start) * WIDTH);
    for (let at = 0; at < block.length; at += WIDTH) source(start + at / WIDTH, block.subarray(at, at + WIDTH));
    await writer.append(block);
    if (start % 65_536 === 0) process.stderr.write(`\r${path}: ${start} of ${images} images`);
  }
  await writer.close();
  process.stderr.write('\n');
}

async function discover(
  path: string,
  prototypes: Float32Array,
  k: number,
  { iterations, threads }: { iterations: number; threads: number },
): Promise<ScaleRow> {
  const rows = await openRows(path);
  const search = new NameSearch(WIDTH, { threads });
  const seconds = { cluster: 0, nearest: 0, vote: 0, realign: 0, total: 0 };
  const step = async <T>(name: keyof typeof seconds, work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    seconds[name] = (performance.now() - start) / 1000;
    seconds.total += seconds[name];
    process.stderr.write(`${rows.count} images: ${name} ${seconds[name].toFixed(1)} s\n`);
    return result;
  };
  const before = process.cpuUsage();
  try {
    const clustering = await step('cluster', () =>
      cluster(rows, { k, width: WIDTH, nInit: 1, maxIterations: iterations, threads }),
    );
    const nearest = (await step('nearest', () => search.nearest(rows, prototypes))).indices;
    const voted = await step('vote', () =>
      vote(rows, prototypes, clustering.labels, { width: WIDTH, rounds: 3, nearest, search }),
    );
    // Three candidates a cluster with four phrases each, as a language model gives them.
    const candidates = voted.counted.votes.map(votes =>
      topNames(votes).map(index => ({
        index,
        name: String(index),
        phrases: [1, 2, 3, 4].map(phrase => ({ phrase: String(phrase), weight: 1 })),
      })),
    );
    const found = await step('realign', () =>
      realign(rows, prototypes, voted.counted, candidates, {
        width: WIDTH,
        formats: ['{name} {phrase}'],
        encodeTexts: texts => Promise.resolve(phrasesNear(texts, prototypes)),
        search,
      }),
    );
    const { user, system } = process.cpuUsage(before);
    const kinds = kindsOf(rows.count, k);
    const share = (labels: Int32Array): number =>
      labels.reduce((count, label, i) => count + Number(label === kinds[i]), 0) / labels.length;
    return {
      name: `cluster, vote × 3, realign of ${rows.count} images`,
      images: rows.count,
      seconds,
      cpu: (user + system) / 1e6,
      microsecondsAnImage: (seconds.total / rows.count) * 1e6,
      iterations: clustering.iterations,
      inertia: clustering.inertia,
      found: { vote: share(voted.rounds[2].labels), realign: share(found.labels) },
      peakGigabytes: process.resourceUsage().maxRSS / 2 ** 20,
    };
  } finally {
    await search.dispose();
    await rows.close();
  }
}

/** A text "name phrase" as a direction near the name's prototype. */
function phrasesNear(texts: readonly string[], prototypes: Float32Array): Float32Array {
  const rows = new Float32Array(texts.length * WIDTH);
  for (const [i, text] of texts.entries()) {
    const name = Number(text.split(' ')[0]);
    const own = direction(WIDTH, 'phrase', text);
    for (let d = 0; d < WIDTH; d++) rows[i * WIDTH + d] = prototypes[name * WIDTH + d] + 0.3 * own[d];
  }
  return rows;
}

function kindsOf(images: number, k: number): Int32Array {
  const source = mixtureRows(0, k);
  const none = new Float32Array(0);
  return Int32Array.from({ length: images }, (_, index) => source(index, none));
}

/** The exponent e of time ≈ c·imagesᵉ by least squares in logarithms. */
function slope(rows: readonly ScaleRow[]): number {
  const points = rows.map(({ images, seconds }) => [Math.log(images), Math.log(seconds.total)]);
  const mean = [0, 1].map(axis => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  const covariance = points.reduce((sum, [x, y]) => sum + (x - mean[0]) * (y - mean[1]), 0);
  return covariance / points.reduce((sum, [x]) => sum + (x - mean[0]) ** 2, 0);
}

function describe({ name, seconds, cpu, microsecondsAnImage, iterations, found, peakGigabytes }: ScaleRow): string {
  const parts = Object.entries(seconds).map(([step, value]) => `${step} ${value.toFixed(1)} s`);
  return [
    `${name}: ${parts.join(', ')} (processor ${cpu.toFixed(1)} s), ${microsecondsAnImage.toFixed(0)} µs an image,`,
    `${iterations} iterations, right names ${(100 * found.vote).toFixed(1)} % and ${(100 * found.realign).toFixed(1)} %,`,
    `peak ${peakGigabytes.toFixed(2)} GB`,
  ].join(' ');
}
