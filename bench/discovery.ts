/** k-means, the assignment of names, nearest names, and the number of clusters, beside scikit-learn, faiss, scipy and numpy. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { assignSparse, type SparseScores } from '../src/discover/assign-sparse.ts';
import { type Estimate, estimateK } from '../src/discover/estimate-k.ts';
import { KMeans } from '../src/discover/kmeans/kmeans.ts';
import { NameSearch } from '../src/discover/nearest.ts';
import { S3aError } from '../src/errors.ts';
import { writeNpy } from '../src/io/npy.ts';
import { random } from '../src/random.ts';
import { mixture, unclustered, vocabularyRows } from './discovery-data.ts';
import { contest, summarise, timed } from './report.ts';
import { type Peer, startPeer } from './torch-peer.ts';

/** One comparison; times in seconds, the smaller the better. */
interface DiscoveryRow {
  name: string;
  /** Median of ours, least and greatest, and the processor time of all threads. */
  ours: number;
  oursRange: [number, number];
  oursCpu: number;
  /** The same of the fastest peer. */
  peer?: number;
  peerRange?: [number, number];
  peerCpu?: number;
  peerName?: string;
  /** How many times as fast ours is as the fastest peer. */
  ratio?: number;
  /** Medians of all peers. */
  peers: Record<string, number>;
  /** What shows that both did the same, and further figures. */
  facts: Record<string, unknown>;
}

interface Timed {
  seconds: number;
  cpu: number;
  [fact: string]: unknown;
}

const WIDTH = 512;
const NAMES = 20_071;

/** Runs `npm run bench -- discovery`. */
export async function benchDiscovery(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      images: { type: 'string', default: '50000' },
      k: { type: 'string', default: '100,1000' },
      rounds: { type: 'string', default: '5' },
      threads: { type: 'string', default: String(availableParallelism()) },
      only: { type: 'string', default: '' },
      python: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const [images, rounds, threads] = [values.images, values.rounds, values.threads].map(Number);
  const folder = await mkdtemp(join(tmpdir(), 's3a-bench-'));
  const peer = await startPeer('discovery_peers.py', { threads }, values.python);
  const rows: DiscoveryRow[] = [];
  const add = (row: DiscoveryRow): void => {
    rows.push(row);
    if (!values.json) console.log(describe(row));
  };
  try {
    const bench: Bench = { folder, peer, rounds, threads, images };
    const wanted = (name: string): boolean => name.includes(values.only);
    for (const k of values.k.split(',').map(Number)) {
      const [plain, grouped] = [
        `k-means, unclustered, 10 iterations, k ${k}`,
        `k-means, clusters, to convergence, k ${k}`,
      ];
      if (wanted(plain)) add(await clustering(bench, plain, unclustered(images, WIDTH), k, 10));
      if (wanted(grouped)) add(await clustering(bench, grouped, mixture(images, WIDTH, k), k, undefined));
    }
    if (wanted('assignment')) add(await assignment(bench));
    if (wanted('nearest')) add(await nearest(bench));
    if (wanted('estimate')) add(await estimate(bench));
    if (values.json) console.log(JSON.stringify({ bench: 'discovery', images, width: WIDTH, threads, rounds, rows }));
  } finally {
    peer?.close();
    await rm(folder, { recursive: true });
  }
}

interface Bench {
  readonly folder: string;
  readonly peer: Peer | undefined;
  readonly rounds: number;
  readonly threads: number;
  readonly images: number;
}

const asked = async (peer: Peer, work: string, ...args: unknown[]): Promise<Timed> =>
  (await peer.ask({ work, arguments: args })) as Timed;

function rowOf(name: string, times: Map<string, Timed[]>, facts: Record<string, unknown>): DiscoveryRow {
  const seconds = (list: readonly Timed[]) => summarise(list.map(time => time.seconds));
  const cpu = (list: readonly Timed[]): number => summarise(list.map(time => time.cpu)).median;
  const ours = times.get('ours')!;
  const peers = [...times].filter(([peer]) => peer !== 'ours');
  peers.sort(([, a], [, b]) => seconds(a).median - seconds(b).median);
  const row: DiscoveryRow = {
    name,
    ours: seconds(ours).median,
    oursRange: seconds(ours).range,
    oursCpu: cpu(ours),
    peers: Object.fromEntries(peers.map(([peer, list]) => [peer, seconds(list).median])),
    facts,
  };
  if (peers.length === 0) return row;
  const [peerName, best] = peers[0];
  const { median, range } = seconds(best);
  return { ...row, peerName, peer: median, peerRange: range, peerCpu: cpu(best), ratio: median / row.ours };
}

/** The whole of k-means from given centres, with loading the images into the threads; the first run of all warms up. */
async function clustering(
  { folder, peer, rounds, threads, images }: Bench,
  name: string,
  rows: Float32Array,
  k: number,
  iterations: number | undefined,
): Promise<DiscoveryRow> {
  const draw = random(0, 'bench', 'centres', k);
  const chosen = draw.shuffle(Int32Array.from({ length: images }, (_, i) => i)).subarray(0, k);
  const start = new Float32Array(k * WIDTH);
  chosen.forEach((row, c) => {
    start.set(rows.subarray(row * WIDTH, (row + 1) * WIDTH), c * WIDTH);
  });
  const [rowsFile, startFile] = [join(folder, 'rows.npy'), join(folder, `start-${name.length}-${k}.npy`)];
  // One name a data set: the other side keeps what it has read.
  const dataFile = rowsFile.replace('.npy', `-${iterations ?? 'all'}-${k}.npy`);
  await writeNpy(dataFile, '<f4', [images, WIDTH], rows);
  await writeNpy(startFile, '<f4', [k, WIDTH], start);
  const options = { maxIterations: iterations ?? 300, tolerance: iterations === undefined ? 1e-4 : 0 };
  let loading = 0;
  const ours = (): Promise<Timed> =>
    timed(async () => {
      const began = performance.now();
      const kmeans = new KMeans(rows, WIDTH, { threads });
      await kmeans.rows(Int32Array.of(0));
      loading = (performance.now() - began) / 1000;
      const found = await kmeans.from(start, options);
      const facts = { inertia: found.inertia, iterations: found.iterations, loading };
      await kmeans.dispose();
      return facts;
    });
  const first = await ours();
  const contestants = new Map([['ours', ours]]);
  if (peer) {
    // faiss has no test of convergence: it gets the iterations that the others needed.
    const most = iterations ?? (first.iterations as number);
    for (const algorithm of ['lloyd', 'elkan']) {
      contestants.set(`scikit-learn ${algorithm}`, () =>
        asked(peer, 'k-means', algorithm, dataFile, startFile, options.maxIterations, options.tolerance),
      );
    }
    contestants.set('faiss', () => asked(peer, 'k-means', 'faiss', dataFile, startFile, most, 0));
  }
  const times = await contest(rounds, contestants, 3);
  const inertias = Object.fromEntries([...times].map(([who, list]) => [who, list[0].inertia as number]));
  for (const [who, inertia] of Object.entries(inertias)) {
    // faiss moves empty clusters by a rule of its own.
    if (who !== 'faiss' && Math.abs(inertia / inertias.ours - 1) > 1e-3) {
      throw new S3aError('BENCH', `${name}: inertia ${inertias.ours}, but ${inertia} of ${who}`);
    }
  }
  await rm(dataFile);
  const loadings = summarise(times.get('ours')!.map(time => time.loading as number)).median;
  return rowOf(name, times, { inertia: inertias, iterations: first.iterations, loading: loadings });
}

/** 1,000 clusters of 50 images vote for names, 60 % of them for some hundreds of popular ones. */
async function assignment({ folder, peer, rounds }: Bench): Promise<DiscoveryRow> {
  const draw = random(0, 'bench', 'votes');
  const votes: SparseScores[] = Array.from({ length: 1000 }, () => {
    const counts = new Map<number, number>();
    for (let n = 0; n < 50; n++) {
      const name = draw.int(draw.next() < 0.6 ? 600 : NAMES);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const names = Int32Array.from([...counts.keys()].sort((a, b) => a - b));
    return { names, scores: Float64Array.from(names, name => counts.get(name)! / 50) };
  });
  const path = join(folder, 'votes.json');
  await writeFile(path, JSON.stringify(votes.map(({ names, scores }) => [[...names], [...scores]])));
  const ours = (): Promise<Timed> =>
    timed(async () => {
      const columns = assignSparse(votes, NAMES);
      const total = votes.reduce((sum, { names, scores }, row) => sum + (scores[names.indexOf(columns[row])] ?? 0), 0);
      return { total };
    });
  await ours();
  const contestants = new Map([['ours', ours]]);
  if (peer) contestants.set('scipy', () => asked(peer, 'assignment', 1000, NAMES, path));
  const times = await contest(rounds, contestants, 3);
  const totals = Object.fromEntries([...times].map(([who, list]) => [who, list[0].total as number]));
  if (peer && Math.abs(totals.scipy - totals.ours) > 1e-9) {
    throw new S3aError('BENCH', `assignment: a total of ${totals.ours}, but ${totals.scipy} of scipy`);
  }
  return rowOf(`assignment, 1,000 × ${NAMES}`, times, { total: totals });
}

/** The number of clusters by the whole search of METHOD §4 over images of 300 kinds; nothing else offers this search. */
async function estimate({ threads, images }: Bench): Promise<DiscoveryRow> {
  const kinds = 300;
  const rows = mixture(images, WIDTH, kinds);
  let found: Estimate | undefined;
  const time = await timed(async () => {
    found = await estimateK(rows, { width: WIDTH, threads });
    return {};
  });
  const { k, curve, verdict } = found!;
  const facts = { kinds, k, tried: curve.length, flat: verdict.flat };
  return rowOf('estimate of the number of clusters, 50 to 2,000', new Map([['ours', [time]]]), facts);
}

/** The nearest of 20,071 names; the peer is the best plain product, as if it cost nothing to find the largest of a row. */
async function nearest({ folder, peer, rounds, threads, images }: Bench): Promise<DiscoveryRow> {
  const count = Math.min(images, 20_000);
  const rows = mixture(count, WIDTH, 1000);
  const names = vocabularyRows(NAMES, WIDTH);
  const [rowsFile, namesFile] = [join(folder, 'images.npy'), join(folder, 'names.npy')];
  await writeNpy(rowsFile, '<f4', [count, WIDTH], rows);
  await writeNpy(namesFile, '<f4', [NAMES, WIDTH], names);
  const search = new NameSearch(WIDTH, { threads });
  let found = new Int32Array(0);
  const ours = (): Promise<Timed> =>
    timed(async () => {
      found = (await search.nearest(rows, names)).indices.slice();
      return {};
    });
  await ours();
  const contestants = new Map([['ours', ours]]);
  const flops = 2 * count * NAMES * WIDTH;
  let agree = 1;
  if (peer) {
    for (const [m, n] of [
      [2048, 2048],
      [1024, 4096],
    ]) {
      // As long as all images would take at the rate of this product.
      const share = flops / (2 * m * n * WIDTH);
      contestants.set(`product ${m}×${WIDTH}×${n}`, async () => {
        const { seconds, cpu } = await asked(peer, 'product', m, WIDTH, n);
        return { seconds: seconds * share, cpu: cpu * share };
      });
    }
    const { labels } = await asked(peer, 'nearest', rowsFile, namesFile);
    agree = (labels as number[]).filter((label, i) => label === found[i]).length / count;
  }
  const times = await contest(rounds, contestants, 3);
  await search.dispose();
  const row = rowOf(`nearest of ${NAMES} names, ${count} images`, times, { sameAsNumpy: agree });
  return { ...row, facts: { ...row.facts, gflops: flops / row.ours / 1e9 } };
}

function describe({
  name,
  ours,
  oursRange,
  oursCpu,
  peer,
  peerCpu,
  peerName,
  ratio,
  peers,
  facts,
}: DiscoveryRow): string {
  const s = (value: number): string => `${value.toPrecision(3)} s`;
  const own = `${name}: ours ${s(ours)} (${oursRange.map(s).join('–')}; processor ${s(oursCpu)})`;
  const theirs =
    peer === undefined ? '' : `, ${peerName} ${s(peer)} (processor ${s(peerCpu!)}), ratio ${ratio!.toFixed(2)}`;
  return `${own}${theirs}\n    all: ${JSON.stringify(peers)} ${JSON.stringify(facts)}`;
}
