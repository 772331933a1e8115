/**
 * The S³A step on a GPU beside PyTorch with bf16 autocast and torch.compile on the same card in the same run, and the shares of the
 * card's ceilings: its best product, and its copy.
 */
import { parseArgs } from 'node:util';
import {
  add,
  autocast,
  chooseDevice,
  compile,
  DEVICES,
  describeChoice,
  input,
  matMul,
  type Program,
  type Provider,
  program,
  sizeOf,
  slice,
  state,
  tryDevice,
} from '../src/engine/index.ts';
import { messageOf, S3aError } from '../src/errors.ts';
import { runsPerCall } from '../src/train/calls.ts';
import { PRECISIONS, type Precision } from '../src/train/precision.ts';
import { measure, torchConfig } from './engine.ts';
import { type Model, modelOf, prepare, programOf, type Work } from './engine-work.ts';
import { leftToProcessor } from './gpu-placement.ts';
import { printRows, type Row, summarise } from './report.ts';
import { type Peer, startPeer } from './torch-peer.ts';

/** Products in a row. */
const CHAIN = 8;
/** Mebibytes that are copied on the card, and from and to it, to find their rates. */
const COPY = 256;

const HELP = `npm run bench -- gpu [options]: a step of S3A on a GPU, beside PyTorch on the same one

  --device NAME      cuda, webgpu, auto (default: cuda where it opens, otherwise webgpu) or cpu
  --models LIST      towers and batches, default vit-b-16:64; vit-b-32 and tiny are known too
  --precisions LIST  default fp32,amp
  --steps N          steps a call on cuda; default as many as a training has
  --product N        side of the square products, default 4096
  --layers N         blocks of the transformers, default 12
  --rounds N         default 5
  --python PATH      an interpreter with PyTorch, default $PYTHON, otherwise python3
  --eager            PyTorch without torch.compile
  --json             one object on stdout
`;

/** Runs `npm run bench -- gpu`. */
export async function benchGpu(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      device: { type: 'string', default: 'auto' },
      models: { type: 'string', default: 'vit-b-16:64' },
      precisions: { type: 'string', default: PRECISIONS.join(',') },
      steps: { type: 'string' },
      product: { type: 'string', default: '4096' },
      layers: { type: 'string', default: '12' },
      rounds: { type: 'string', default: '5' },
      python: { type: 'string' },
      eager: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const device = await deviceOf(values.device);
  const precisions = PRECISIONS.filter(name => values.precisions.split(',').includes(name));
  if (precisions.length === 0) throw new Error(`--precisions are some of ${PRECISIONS.join(', ')}`);
  const [layers, rounds, size] = [values.layers, values.rounds, values.product].map(Number);
  const models = await Promise.all(values.models.split(',').map(spec => modelOf(spec, layers)));

  const rows: Row[] = [];
  const rates: Record<string, number> = {};
  /** What cannot be measured is told in one line, and the rest goes on. */
  const tried = async (name: string, work: () => Promise<Row>): Promise<void> => {
    try {
      rows.push({ ...(await work()), name });
    } catch (error) {
      process.stderr.write(`${name}: ${oneLine(error)}\n`);
    }
  };
  for (const [i, model] of models.entries()) {
    const config = { ...torchConfig(model, 1, !values.eager), products: [[size, size, size]], copies: [COPY] };
    const peer = await cardPeer({ ...config, device: 'auto', autocast: true }, values.python, device);
    if (i === 0) {
      for (const precision of precisions) {
        const name = `product ${size}x${size}x${size}`;
        await tried(`${name} ${precision}`, async () => {
          const [row] = await measure(
            await squares(name, size, precision, device),
            severalSteps(peer, CHAIN),
            [],
            rounds,
          );
          return row;
        });
      }
      for (const way of ['copy', 'upload', 'download']) {
        const seconds = await peer?.run(`${way} ${COPY} MiB`, 11);
        if (seconds) rates[way] = (COPY * 2 ** 20) / 1e9 / summarise(seconds.slice(2)).median;
      }
    }
    for (const precision of precisions) {
      const graph = programOf(model, 'step', precision);
      const stepsPerExecution = values.steps === undefined ? undefined : Number(values.steps);
      const steps = runsPerCall(graph, { device, runs: 1, stepsPerExecution });
      await tried(`${model.name} step ${precision}${steps > 1 ? `, ${steps} a call` : ''}`, async () => {
        const options = { device, precision, steps: steps > 1 ? steps : undefined };
        const [row] = await measure(await prepare(model, 'step', options), severalSteps(peer, steps), [], rounds);
        const bytes = (trafficOf(graph) / model.batch) * row.ours;
        // A copy reads and writes each byte.
        return { ...row, shareOfCopy: rates.copy && bytes / 2e9 / rates.copy };
      });
      await placement(model, device, precision, steps);
    }
    peer?.close();
  }
  if (rows.length === 0) throw new Error(`nothing could be measured on ${device}`);
  // The peer's product is in bf16: the ceiling of the card, where it has one for 16 bits.
  const products = rows.filter(row => row.unit === 'GFLOP/s').flatMap(row => [row.ours, row.peer ?? 0]);
  const peak = products.length > 0 ? Math.max(...products) : undefined;
  for (const row of rows) row.shareOfPeak = peak && row.gflops / peak;
  const known = Object.entries(rates).map(([way, rate]) => [`${way} GB/s`, rate.toFixed(1)]);
  const facts = { device, models: values.models, layers, rounds, peak, ...Object.fromEntries(known) };
  printRows('gpu', rows, facts, values.json);
  if (values.json) return;
  for (const { name, shareOfCopy } of rows) {
    if (shareOfCopy)
      console.log(`${name}: its nodes read and write at ${shareOfCopy.toFixed(2)} of the rate of a copy`);
  }
}

/** The device, which must be there: without a GPU nothing is to be measured but by asking for it. */
async function deviceOf(name: string): Promise<Provider> {
  const asked = DEVICES.find(device => device === name);
  if (asked === undefined) throw new Error(`--device is one of ${DEVICES.join(', ')}, not '${name}'`);
  const chosen = await chooseDevice(asked);
  if (asked === 'auto' && chosen.device === 'cpu') {
    throw new Error(`there is no GPU: ${describeChoice(chosen)}; --device cpu measures the processor`);
  }
  if (chosen.device === 'cuda') {
    const { lacks } = await tryDevice('cuda');
    if (lacks) throw new Error(oneLine(lacks));
  }
  return chosen.device;
}

/** PyTorch, if it is there and has the card too. */
async function cardPeer(config: object, python: string | undefined, device: Provider): Promise<Peer | undefined> {
  const peer = await startPeer('engine_torch.py', config, python);
  if (!peer) {
    process.stderr.write('PyTorch is not there: name its interpreter with --python; nothing is compared\n');
    return undefined;
  }
  if (peer.device === 'cuda' || device === 'cpu') return peer;
  process.stderr.write(`${peer.name} has no card here, so nothing is compared\n`);
  peer.close();
  return undefined;
}

/** A peer whose runs are several steps, as ours are. */
function severalSteps(peer: Peer | undefined, steps: number): Peer | undefined {
  return (
    peer && {
      ...peer,
      async run(name, count) {
        const seconds = await peer.run(name, steps * count);
        const sum = (from: number): number => seconds.slice(from, from + steps).reduce((a, b) => a + b, 0);
        return Array.from({ length: count }, (_, i) => sum(i * steps));
      },
    }
  );
}

async function placement(model: Model, device: Provider, precision: Precision, steps: number): Promise<void> {
  if (device === 'cpu') return;
  const name = `${model.name} step ${precision}`;
  try {
    const options = { device, precision, steps: steps > 1 ? 2 : undefined };
    process.stderr.write(`${name}: ${await leftToProcessor({ ...model, batch: 2, names: 100 }, options)}\n`);
  } catch (error) {
    process.stderr.write(`${name}: which nodes run where is not known: ${oneLine(error)}\n`);
  }
}

/** Bytes that the nodes of a graph read and write, each operand and result once; views move nothing. */
function trafficOf({ nodes }: Program): number {
  const sizes: Record<string, number> = { float16: 2, float64: 8, int64: 8, bool: 1, uint8: 1 };
  return nodes
    .filter(({ operator }) => operator !== 'Reshape')
    .flatMap(({ inputs, outputs }) => [...inputs, ...outputs])
    .reduce((sum, { dtype, shape }) => sum + (sizes[dtype] ?? 4) * sizeOf(shape), 0);
}

function oneLine(error: unknown): string {
  const hint = error instanceof S3aError && error.hint !== undefined ? `. ${error.hint}` : '';
  return messageOf(error).slice(0, 400) + hint;
}

/** Square products in a row, in a precision; nothing but a corner of the last leaves the device. */
async function squares(name: string, size: number, precision: Precision, device: Provider): Promise<Work> {
  // Under CUDA what is no constant comes from the host at every run, and what only constants make is computed once: so both
  // factors are constants, and a number that is fed stands between them.
  const b = state('b', [size, size]);
  let y = add(state('a', [size, size]), input('x', 'float32', []));
  for (let i = 0; i < CHAIN; i++) y = matMul(y, b);
  if (precision === 'amp') [y] = autocast([y]);
  const corner = slice(slice(y, 0, 0, 1), 1, 0, 1);
  const session = await compile(program({ corner }), { device, frozen: device === 'cuda' });
  // Products of these neither grow nor vanish.
  const noise = (seed: number, scale: number): Float32Array =>
    Float32Array.from({ length: size * size }, (_, i) => scale * Math.sin(seed + i * (i % 1009)));
  await session.setState({ a: noise(0, 1), b: noise(1, Math.sqrt(2 / size)) });
  const flops = CHAIN * 2 * size ** 3;
  return {
    ...{ name, amount: flops / 1e9, unit: 'GFLOP/s', flops },
    run: () => session.run({ x: new Float32Array(1) }),
    dispose: () => session.dispose(),
  };
}
