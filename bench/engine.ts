/** Training step and embedding of CLIP's image tower, and plain matrix products, beside PyTorch. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseClipConfig, type VitConfig } from '../src/clip/towers/config.ts';
import { initialise } from '../src/clip/towers/initialise.ts';
import { visionParameters, visionTower } from '../src/clip/towers/vision.ts';
import {
  adamW,
  compile,
  gradient,
  input,
  matMul,
  mean,
  program,
  type Session,
  slice,
  square,
  state,
  type Tensors,
} from '../src/engine/index.ts';
import { random } from '../src/random.ts';
import { printRows, type Row, type Summary, summarise } from './report.ts';
import { type Peer, startPeer } from './torch-peer.ts';

type Product = [m: number, k: number, n: number];

/** The products of the tower itself at batch 8, and two larger ones. */
const PRODUCTS: Product[] = [
  [400, 768, 3072],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
];

/** A piece of work that both sides can do. */
interface Work {
  name: string;
  /** What one run counts for, in the row's unit. */
  amount: number;
  unit: string;
  flops: number;
  /** One run of ours. */
  run(): Promise<unknown>;
  dispose(): Promise<void>;
}

/** Runs `npm run bench -- engine`. */
export async function benchEngine(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      layers: { type: 'string', default: '12' },
      batch: { type: 'string', default: '8' },
      patch: { type: 'string', default: '32' },
      rounds: { type: 'string', default: '5' },
      threads: { type: 'string', default: String(availableParallelism()) },
      python: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const [layers, batch, patch, rounds, threads] = [
    values.layers,
    values.batch,
    values.patch,
    values.rounds,
    values.threads,
  ].map(Number);
  const config = parseClipConfig({ vision_config: { num_hidden_layers: layers, patch_size: patch } });
  const vision = config.vision_config as VitConfig;
  const peer = await startPeer(
    'engine_torch.py',
    {
      width: vision.hidden_size,
      heads: vision.num_attention_heads,
      inner: vision.intermediate_size,
      image: vision.image_size,
      dimension: config.projection_dim,
      products: PRODUCTS,
      layers,
      batch,
      patch,
      threads,
    },
    values.python,
  );
  const rows: Row[] = [];
  const peaks: number[] = [];
  for (const [m, k, n] of PRODUCTS) {
    const { row, best } = await measure(await product(m, k, n, threads), peer, rounds);
    rows.push(row);
    peaks.push(best);
  }
  rows.push((await measure(await embedding(config, batch, threads), peer, rounds)).row);
  rows.push((await measure(await trainingStep(config, batch, threads), peer, rounds)).row);
  peer?.close();
  for (const row of rows) row.shareOfPeak = row.gflops / Math.max(...peaks);
  printRows('engine', rows, { layers, patch, batch, threads, rounds }, values.json);
}

/** Rounds of ours and the peer's in turn, each of about a second, after one round that does not count. */
async function measure(work: Work, peer: Peer | undefined, rounds: number): Promise<{ row: Row; best: number }> {
  const ours: number[] = [];
  const theirs: number[] = [];
  const time = async (): Promise<number> => {
    const start = performance.now();
    await work.run();
    return (performance.now() - start) / 1000;
  };
  await time();
  const count = Math.max(1, Math.round(1 / (await time())));
  await peer?.run(work.name, 2);
  for (let round = 0; round < rounds; round++) {
    // Threads of the one library must have stopped spinning before the other starts.
    await sleep(200);
    const seconds: number[] = [];
    for (let i = 0; i < count; i++) seconds.push(await time());
    ours.push(work.amount / summarise(seconds).median);
    if (!peer) continue;
    await sleep(200);
    theirs.push(work.amount / summarise(await peer.run(work.name, count)).median);
  }
  await work.dispose();
  const our = summarise(ours);
  const their: Summary | undefined = peer && summarise(theirs);
  const gflops = (amount: number): number => (amount * work.flops) / work.amount / 1e9;
  return {
    best: gflops(Math.max(our.median, their?.median ?? 0)),
    row: {
      name: work.name,
      unit: work.unit,
      ours: our.median,
      oursRange: our.range,
      ...(peer &&
        their && {
          peer: their.median,
          peerRange: their.range,
          peerName: peer.name,
          ratio: our.median / their.median,
        }),
      gflops: gflops(our.median),
    },
  };
}

async function product(m: number, k: number, n: number, threads: number): Promise<Work> {
  // The second input is resident and only a corner comes back, so that copies between threads do not count.
  const y = matMul(state('a', [m, k]), state('b', [k, n]));
  const session = await compile(program({ y: slice(slice(y, 0, 0, 1), 1, 0, 1) }), { threads });
  const flops = 2 * m * k * n;
  const source = random(0, 'bench');
  await session.setState({ a: normal(m * k, source.normal), b: normal(k * n, source.normal) });
  return work(session, `product ${m}x${k}x${n}`, flops / 1e9, 'GFLOP/s', flops, {});
}

type Config = ReturnType<typeof parseClipConfig>;

async function embedding(config: Config, batch: number, threads: number): Promise<Work> {
  const { pixels, weights, images } = tower(config, batch);
  const embedded = visionTower(config, name => weights[name], pixels);
  const session = await compile(program({ embedded }), { threads });
  await session.setState(initialise(config, visionParameters(config), 0));
  return work(session, 'embed', batch, 'images/s', batch * towerFlops(config), { pixels: images });
}

async function trainingStep(config: Config, batch: number, threads: number): Promise<Work> {
  const { pixels, weights, images } = tower(config, batch);
  const loss = mean(square(visionTower(config, name => weights[name], pixels)));
  const derived = gradient(loss, Object.values(weights));
  const gradients = Object.fromEntries(Object.keys(weights).map((name, i) => [name, derived[i]]));
  const [rate, step] = [input('rate', 'float32', []), input('step', 'float32', [])];
  const session = await compile(program({ loss, ...adamW(weights, gradients, rate, step) }), { threads });
  await session.setState(initialise(config, visionParameters(config), 0));
  const feeds = { pixels: images, rate: Float32Array.of(1e-5), step: Float32Array.of(1) };
  return work(session, 'train', batch, 'images/s', 3 * batch * towerFlops(config), feeds);
}

function tower(config: Config, batch: number) {
  const size = config.vision_config.image_size;
  const pixels = input('pixels', 'float32', [batch, 3, size, size]);
  const weights: Tensors = Object.fromEntries(
    visionParameters(config).map(({ name, shape }) => [name, state(name, shape)]),
  );
  return { pixels, weights, images: normal(batch * 3 * size * size, random(1, 'bench').normal) };
}

/** Multiplications and additions of the forward pass for one image; the backward pass has twice as many. */
function towerFlops({ vision_config, projection_dim }: Config): number {
  const {
    hidden_size: w,
    intermediate_size: inner,
    patch_size: p,
    image_size,
    num_hidden_layers,
  } = vision_config as VitConfig;
  const patches = (image_size / p) ** 2;
  const tokens = patches + 1;
  const layer = 2 * tokens * (4 * w * w + 2 * w * inner) + 4 * tokens * tokens * w;
  return 2 * patches * 3 * p * p * w + num_hidden_layers * layer + 2 * w * projection_dim;
}

const normal = (count: number, draw: () => number): Float32Array => Float32Array.from({ length: count }, draw);

function work(
  session: Session,
  name: string,
  amount: number,
  unit: string,
  flops: number,
  feeds: Record<string, Float32Array>,
): Work {
  return { name, amount, unit, flops, run: () => session.run(feeds), dispose: () => session.dispose() };
}
