/** The S³A step on a GPU beside PyTorch with bf16 autocast and torch.compile on the same card, and the card's ceilings. */
import { parseArgs } from 'node:util';
import {
  autocast,
  chooseDevice,
  compile,
  DEVICES,
  type Device,
  matMul,
  program,
  slice,
  state,
} from '../src/engine/index.ts';
import { PRECISIONS, type Precision } from '../src/train/precision.ts';
import { measure, torchConfig } from './engine.ts';
import { modelOf, prepare, type Work } from './engine-work.ts';
import { printRows, type Row, summarise } from './report.ts';
import { startPeer } from './torch-peer.ts';

/** Mebibytes that are copied on the card to find its bandwidth. */
const COPY = 256;

/** Runs `npm run bench -- gpu`. */
export async function benchGpu(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      device: { type: 'string', default: 'auto' },
      models: { type: 'string', default: 'vit-b-16:64' },
      precisions: { type: 'string', default: PRECISIONS.join(',') },
      product: { type: 'string', default: '4096' },
      layers: { type: 'string', default: '12' },
      rounds: { type: 'string', default: '5' },
      python: { type: 'string' },
      eager: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const asked = DEVICES.find(name => name === values.device);
  if (asked === undefined) throw new Error(`--device is one of ${DEVICES.join(', ')}, not '${values.device}'`);
  const { device } = await chooseDevice(asked);
  const precisions = PRECISIONS.filter(name => values.precisions.split(',').includes(name));
  const [layers, rounds, size] = [values.layers, values.rounds, values.product].map(Number);
  const models = await Promise.all(values.models.split(',').map(spec => modelOf(spec, layers)));

  const rows: Row[] = [];
  let copyRate: number | undefined;
  for (const [i, model] of models.entries()) {
    const products = [[size, size, size]];
    const config = {
      ...torchConfig(model, 1, !values.eager),
      device: 'auto',
      autocast: true,
      products,
      copies: [COPY],
    };
    const peer = await startPeer('engine_torch.py', config, values.python);
    if (i === 0) {
      for (const precision of precisions) {
        const name = `product ${size}x${size}x${size}`;
        const [row] = await measure(await squares(name, size, precision, device), peer, [], rounds);
        rows.push({ ...row, name: `${name} ${precision}` });
      }
      if (peer) {
        await peer.run(`copy ${COPY} MiB`, 2);
        // Read once and written once.
        copyRate = (2 * COPY * 2 ** 20) / 1e9 / summarise(await peer.run(`copy ${COPY} MiB`, 9)).median;
      }
    }
    for (const precision of precisions) {
      const [row] = await measure(await prepare(model, 'step', { device, precision }), peer, [], rounds);
      rows.push({ ...row, name: `${row.name} ${precision}` });
    }
    peer?.close();
  }
  // The peer's product is in bf16: the ceiling of the card, where it has one for 16 bits.
  const peak = Math.max(...rows.filter(row => row.unit === 'GFLOP/s').flatMap(row => [row.ours, row.peer ?? 0]));
  for (const row of rows) row.shareOfPeak = row.gflops / peak;
  const facts = { device, models: values.models, layers, rounds, peak, 'copy GB/s': copyRate?.toFixed(0) ?? 'unknown' };
  printRows('gpu', rows, facts, values.json);
}

/** A square product in a precision; nothing but a corner of the result leaves the device. */
async function squares(name: string, size: number, precision: Precision, device: Device): Promise<Work> {
  const [a, b] = [state('a', [size, size]), state('b', [size, size])];
  const y = precision === 'amp' ? autocast([matMul(a, b)])[0] : matMul(a, b);
  const session = await compile(program({ y: slice(slice(y, 0, 0, 1), 1, 0, 1) }), { device });
  const values = Float32Array.from({ length: size * size }, (_, i) => Math.sin(i));
  await session.setState({ a: values, b: values });
  const flops = 2 * size ** 3;
  return {
    ...{ name, amount: flops / 1e9, unit: 'GFLOP/s', flops },
    run: () => session.run({}),
    dispose: () => session.dispose(),
  };
}
