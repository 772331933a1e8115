/** Embedding, training step and S³A step of CLIP's image towers, beside PyTorch, transformers.js and plain onnxruntime. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exportPeers, type WorkPeer } from './engine-peers.ts';
import { printProfile, profiled } from './engine-profile.ts';
import { type Model, modelOf, prepare, product, WORKS, type Work } from './engine-work.ts';
import { printRows, type Row, secondsOf, summarise } from './report.ts';
import { type Peer, startPeer } from './torch-peer.ts';

/** The products of ViT-B/32 at batch 8, and two larger ones. */
const PRODUCTS = [
  [400, 768, 3072],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
] as const;

/** Runs `npm run bench -- engine`. */
export async function benchEngine(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      models: { type: 'string', default: 'vit-b-32:8,vit-b-32:32,vit-b-16:8,vit-b-16:32,tiny:128' },
      only: { type: 'string', default: '' },
      layers: { type: 'string', default: '12' },
      rounds: { type: 'string', default: '5' },
      threads: { type: 'string', default: String(availableParallelism()) },
      python: { type: 'string' },
      compile: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const [layers, rounds, threads] = [values.layers, values.rounds, values.threads].map(Number);
  const models = await Promise.all(values.models.split(',').map(spec => modelOf(spec, layers)));
  const parts = values.only.split(',');
  const wanted = (name: string): boolean => parts.some(part => name.includes(part));
  if (values.profile) return profileAll(models, wanted, threads, rounds);

  const rows: Row[] = [];
  // Without a product there is no peak, so one is measured in any case.
  const products = PRODUCTS.filter((size, i) => i === 0 || wanted(`product ${size.join('x')}`));
  const torch = (model: Model): Promise<Peer | undefined> =>
    startPeer('engine_torch.py', torchConfig(model, threads, values.compile), values.python);
  const plain = await torch(models[0]);
  for (const size of products) rows.push(...(await measure(await product(size, { threads }), plain, [], rounds)));
  plain?.close();
  for (const model of models) {
    const works = WORKS.filter(work => wanted(`${model.name} ${work}`));
    if (works.length === 0) continue;
    const peer = await torch(model);
    for (const work of works) {
      // An exported model holds a copy of the weights in each runtime, so it is there for as long as it is needed.
      const others = work === 'embed' ? await exportPeers(model, threads) : [];
      rows.push(...(await measure(await prepare(model, work, { threads }), peer, others, rounds)));
      for (const other of others) await other.close();
    }
    peer?.close();
  }
  const peak = Math.max(...rows.filter(row => row.unit === 'GFLOP/s').flatMap(row => [row.ours, row.peer ?? 0]));
  for (const row of rows) row.shareOfPeak = row.gflops / peak;
  const shown = rows.filter(row => wanted(row.name));
  printRows('engine', shown, { models: values.models, layers, threads, rounds, peak }, values.json);
}

/** Rounds in turn, each of about a second and at least one run, after runs that do not count. One row a peer. */
export async function measure(work: Work, torch: Peer | undefined, others: WorkPeer[], rounds: number): Promise<Row[]> {
  const ours: WorkPeer = {
    name: 's3a',
    run: (_, count) => secondsOf(count, () => work.run()),
    close: () => work.dispose(),
  };
  const sides = [ours, ...(torch ? [torch] : []), ...others].map(side => ({ side, rates: [] as number[] }));
  const [first, second] = await ours.run(work.name, 2);
  const count = Math.max(1, Math.round(1 / second));
  for (const { side } of sides.slice(1)) await side.run(work.name, first > 3 ? 1 : 2);
  for (let round = 0; round < rounds; round++) {
    for (const { side, rates } of sides) {
      // Threads of the one library must have stopped spinning before the other starts.
      await sleep(200);
      rates.push(work.amount / summarise(await side.run(work.name, count)).median);
    }
  }
  await ours.close();
  const [own, ...peers] = sides.map(({ side, rates }) => ({ name: side.name, ...summarise(rates) }));
  const row: Row = {
    name: work.name,
    unit: work.unit,
    ours: own.median,
    oursRange: own.range,
    gflops: (own.median * work.flops) / work.amount / 1e9,
  };
  if (peers.length === 0) return [row];
  return peers.map(({ name, median, range }) => ({
    ...row,
    peer: median,
    peerRange: range,
    peerName: name,
    ratio: own.median / median,
  }));
}

/** What the peer builds the same tower of. */
export function torchConfig(
  { config, batch, names }: Model,
  threads: number,
  compiled: boolean,
): Record<string, unknown> {
  const { vision_config: vision, projection_dim: dimension } = config;
  return { vision, dimension, batch, names, threads, compile: compiled, products: PRODUCTS };
}

async function profileAll(models: Model[], wanted: (name: string) => boolean, threads: number, rounds: number) {
  for (const model of models) {
    for (const work of WORKS.filter(name => wanted(`${model.name} ${name}`))) {
      const profile = await profiled(async path => {
        const prepared = await prepare(model, work, { threads, profile: path });
        const calls = await secondsOf(rounds + 2, () => prepared.run());
        await prepared.dispose();
        return calls.map(seconds => 1000 * seconds);
      });
      printProfile(`${model.name} ${work}`, profile);
    }
  }
}
