/** The loader alone, from files to batches of normalised views, beside torchvision's transforms on Pillow images. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { S3aError } from '../src/errors.ts';
import type { View } from '../src/images/augment.ts';
import { createLoader, type LoaderOptions } from '../src/images/loader.ts';
import { readNpyFloat32 } from '../src/io/npy.ts';
import { photographs } from './images-data.ts';
import { contest, type Summary, summarise, timed } from './report.ts';
import { type Peer, startPeer } from './torch-peer.ts';

/** One comparison, in images a second. */
interface ImagesRow {
  name: string;
  unit: 'images/s';
  ours: number;
  oursRange: [number, number];
  /** Processor time of all threads for an image, in milliseconds. */
  oursCpu: number;
  peer?: number;
  peerRange?: [number, number];
  peerCpu?: number;
  peerName?: string;
  ratio?: number;
}

/** A pass over all images. */
interface Pass {
  seconds: number;
  cpu: number | null;
  images: number;
}

interface Work {
  name: string;
  views: View[];
  /** The piece of work of the peer. */
  peer: string;
  /** What the peer's name is followed by. */
  note?: string;
  /** Whether decoded images are kept, so that the passes that count decode none. */
  kept?: boolean;
}

const WORKS: readonly Work[] = [
  { name: 'evaluation', views: ['evaluation'], peer: 'evaluation' },
  { name: 'evaluation, beside draft', views: ['evaluation'], peer: 'draft', note: ', draft' },
  { name: 'weak and strong', views: ['weak', 'strong'], peer: 'training' },
  { name: 'weak and strong, images kept', views: ['weak', 'strong'], peer: 'training', kept: true },
];

const CLIP = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  crop: 'torchvision',
} as const;

/** Runs `npm run bench -- images`. */
export async function benchImages(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      images: { type: 'string', default: '400' },
      batch: { type: 'string', default: '32' },
      workers: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
      size: { type: 'string', default: '224' },
      only: { type: 'string', default: '' },
      folder: { type: 'string' },
      python: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const [images, batch, workers, rounds] = [values.images, values.batch, values.workers, values.rounds].map(Number);
  const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 's3a-bench-')));
  let peer: Peer | undefined;
  try {
    const files = await photographs(folder, images);
    const bench: Bench = {
      options: { root: folder, files, workers, size: Number(values.size), ...CLIP },
      batch,
      rounds,
    };
    peer = await startPeer('images_torch.py', { ...bench.options, batch }, values.python);
    if (peer) await compareViews(bench, peer);
    const rows: ImagesRow[] = [];
    for (const work of WORKS.filter(({ name }) => name.includes(values.only))) {
      const row = await compare(bench, work, peer);
      rows.push(row);
      if (!values.json) console.log(describe(row));
    }
    if (values.json)
      console.log(JSON.stringify({ bench: 'images', images, size: bench.options.size, batch, workers, rounds, rows }));
  } finally {
    peer?.close();
    if (!values.folder) await rm(folder, { recursive: true });
  }
}

interface Bench {
  readonly options: LoaderOptions;
  readonly batch: number;
  readonly rounds: number;
}

/** Both sides take turns, pass by pass; the first of each does not count. */
async function compare(bench: Bench, work: Work, peer: Peer | undefined): Promise<ImagesRow> {
  const { options, batch, rounds } = bench;
  const loader = createLoader({ ...options, cacheBytes: work.kept ? 2 ** 32 : 0 });
  let epoch = 0;
  const ours = (): Promise<Pass> =>
    timed(async () => {
      let count = 0;
      for await (const { indices } of loader.batches({ batchSize: batch, views: work.views, epoch: epoch++ })) {
        count += indices.length;
      }
      return { images: count };
    });
  const contestants = new Map([['ours', ours]]);
  if (peer) contestants.set('peer', async () => (await peer.ask({ work: work.peer })) as Pass);
  let passes: Map<string, Pass[]>;
  try {
    passes = await contest(rounds + 1, contestants);
  } finally {
    await loader.dispose();
  }
  const [own, others] = ['ours', 'peer'].map(name => passes.get(name) ?? []);
  const odd = [...own, ...others].find(pass => pass.images !== options.files.length);
  if (odd) throw new S3aError('BENCH', `a pass gave ${odd.images} of ${options.files.length} images`);
  const { median, range } = rates(own);
  const row: ImagesRow = {
    name: work.name,
    unit: 'images/s',
    ours: median,
    oursRange: range,
    oursCpu: milliseconds(own)!,
  };
  if (!peer) return row;
  const other = rates(others);
  return {
    ...row,
    peer: other.median,
    peerRange: other.range,
    peerCpu: milliseconds(others),
    peerName: peer.name + (work.note ?? ''),
    ratio: median / other.median,
  };
}

const counted = (passes: readonly Pass[]): readonly Pass[] => passes.slice(1);

function rates(passes: readonly Pass[]): Summary {
  return summarise(counted(passes).map(({ images, seconds }) => images / seconds));
}

function milliseconds(passes: readonly Pass[]): number | undefined {
  const all = counted(passes).flatMap(({ cpu, images }) => (cpu === null ? [] : [(1000 * cpu) / images]));
  return all.length > 0 ? summarise(all).median : undefined;
}

/** @throws S3aError BENCH when the evaluation views are not those of the peer; the others are drawn at random */
async function compareViews({ options }: Bench, peer: Peer): Promise<void> {
  const count = Math.min(options.files.length, 16);
  const path = join(options.root, 'views.npy');
  await peer.ask({ save: path, count });
  const { data: theirs } = await readNpyFloat32(path);
  await rm(path);
  const loader = createLoader({ ...options, files: options.files.slice(0, count) });
  for await (const { views } of loader.batches({ batchSize: count, views: ['evaluation'] })) {
    // The last bit of the normalisation differs; another value of a pixel is 0.014 away.
    const farthest = views.evaluation.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i])), 0);
    if (views.evaluation.length !== theirs.length || !(farthest < 1e-5)) {
      throw new S3aError('BENCH', `the evaluation view differs from that of ${peer.name} by ${farthest}`);
    }
  }
  await loader.dispose();
}

function describe(row: ImagesRow): string {
  const side = (median: number, [least, most]: [number, number], cpu?: number): string =>
    `${median.toFixed(0)} (${least.toFixed(0)}–${most.toFixed(0)})${cpu === undefined ? '' : `, ${cpu.toFixed(2)} ms of processor`}`;
  const ours = `${row.name}: ${side(row.ours, row.oursRange, row.oursCpu)}`;
  if (row.peer === undefined) return `${ours} images/s`;
  const peer = `${row.peerName} ${side(row.peer, row.peerRange!, row.peerCpu)}`;
  return `${ours}; ${peer}; ratio ${row.ratio!.toFixed(2)}`;
}
