/** Device webgpu: states that stay on it, and what is left to the processor. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { driver, hasDriver, lacksHalf, onDriver } from './webgpu-driver.ts';

/**
 * A tower of two layers with attention between them, trained for some steps by every way in PROGRAMS; prints what each reports and
 * has learnt.
 */
const script = `
import * as e from 's3a/engine';
const shapes = { w1: [8, 4], b1: [8], w2: [3, 8], never: [3] };
const weights = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, e.state(name, shape)]));
const fixed = e.state('fixed', [3]);
const x = e.input('x', 'float32', [16, 4]);
const labels = e.input('labels', 'int32', [16]);
const hidden = e.quickGelu(e.linear(x, weights.w1, weights.b1));
const heads = e.reshape(hidden, [4, 4, 8]);
const seen = e.matMul(e.softmax(e.matMul(heads, heads, { transB: true, alpha: 0.35 })), heads);
const plain = e.add(e.linear(e.reshape(seen, [16, 8]), weights.w2), weights.never);
const [rate, step] = [e.input('rate', 'float32', []), e.input('step', 'float32', [])];
function training(half) {
  const scaler = half ? e.lossScaling() : undefined;
  const logits = e.mul(half ? e.autocast([plain])[0] : plain, fixed);
  const loss = e.mean(e.crossEntropy(logits, labels));
  const d = e.gradient(half ? scaler.scaled(loss) : loss, Object.values(weights));
  const raw = Object.fromEntries(Object.keys(weights).map((name, i) => [name, d[i]]));
  const gradients = half ? scaler.unscaled(raw) : raw;
  const updates = e.adamW(weights, gradients, rate, half ? scaler.step : step);
  return e.program({ loss, ...(half ? scaler.guarded(updates, e.gradientNorm(gradients)).updates : updates) });
}
const values = (n, seed) => Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * i));
const out = {};
for (const [device, half] of PROGRAMS) {
  const graph = training(half);
  const session = await e.compile(graph, { device });
  await session.setState({ w1: values(32, 1), w2: values(24, 2), fixed: Float32Array.of(1, 2, 0.5) });
  // The first steps overflow.
  if (half) await session.setState(e.lossScaleStart(2 ** 24));
  const losses = [];
  for (let i = 1; i <= 12; i++) {
    const feeds = { x: values(64, 3), labels: Int32Array.from({ length: 16 }, (_, j) => j % 3) };
    const count = half ? {} : { step: Float32Array.of(i) };
    const report = await session.run({ ...feeds, ...count, rate: Float32Array.of(0.05) });
    losses.push(report.loss[0]);
    if (i === 6) await session.setState({ b1: new Float32Array(8).fill(0.1) });
  }
  const state = await session.getState();
  await session.dispose();
  out[device] = { losses, state: Object.fromEntries(Object.entries(state).map(([name, data]) => [name, [...data]])) };
}
console.log(JSON.stringify(out));
`;

/** A step with its profile, by the facts of a tower. */
const step = `
import { readFileSync } from 'node:fs';
import { compile, lossScaleStart, sizeOf } from 's3a/engine';
import { parseClipConfig } from './dist/src/clip/towers/config.js';
import { stepProgram } from './dist/src/train/step.js';
const { tower, precision, profile } = JSON.parse(readFileSync(0, 'utf8'));
const graph = stepProgram({ config: parseClipConfig(tower), batch: 2, names: 9, logitScale: 10, precision, clip: 1 });
const session = await compile(graph, { device: 'webgpu', profile });
if (precision === 'amp') await session.setState(lossScaleStart());
const fed = [...graph.inputs].filter(([, { source }]) => !source.state);
const values = ({ dtype, shape }) => new (dtype === 'int32' ? Int32Array : Float32Array)(sizeOf(shape)).fill(1);
await session.run(Object.fromEntries(fed.map(([name, tensor]) => [name, values(tensor)])));
await session.dispose();
`;

const rows = `
import * as e from 's3a/engine';
const x = e.input('x', 'float32', [4, 7]);
const [one, two] = [e.topK(x, 1), e.topK(x, 2)];
const graph = e.program({ top: one.values, first: one.indices, two: two.indices });
const session = await e.compile(graph, { device: 'webgpu' });
const values = [0, 3, 1, 3, 3, 2, 0, 7, 6, 5, 4, 3, 7, 1, -5, -4, -3, -2, -1, -9, -8, 0, 1, 2, 1, 0, -1, 4];
const made = await session.run({ x: Float32Array.from(values) });
await session.dispose();
console.log(JSON.stringify(Object.fromEntries(Object.entries(made).map(([name, data]) => [name, [...data]]))));
`;

/** Runs with feeds staged ahead of them and without, and which of two questions is answered first. */
const ahead = `
import * as e from 's3a/engine';
import { planOf } from './dist/src/engine/session-plan.js';
import { SessionThread } from './dist/src/engine/session-thread.js';
// So large that they travel in memory that is lent.
const [x, rows] = [e.input('x', 'float32', [200, 100]), e.input('rows', 'int32', [20000])];
const [w, rate] = [e.state('w', [100]), e.input('rate', 'float32', [])];
const seen = e.sum(e.gather(e.mul(x, w), rows), { axes: [0] });
const graph = e.program({ y: e.mean(seen), z: seen, w: e.add(w, e.mul(e.sum(x, { axes: [0] }), rate)) });
const feedsOf = i => ({
  x: Float32Array.from({ length: 20000 }, (_, j) => Math.sin(i + j)),
  rows: Int32Array.from({ length: 20000 }, (_, j) => (i * j) % 200),
  rate: Float32Array.of(0.1 * i),
});
async function learn(device, stages) {
  const session = await e.compile(graph, { device });
  await session.setState({ w: new Float32Array(100).fill(1) });
  const told = [];
  const all = Array.from({ length: 6 }, (_, i) => feedsOf(i));
  for (const [i, feeds] of all.entries()) {
    // The fifth comes unannounced, and what is staged in the end is never run.
    const running = session.run(feeds);
    if (stages && i !== 3) session.stage(all[i + 1] ?? feedsOf(9));
    // They are copied when they are staged.
    if (stages && i < 5 && i !== 3) all[i + 1].x.fill(7);
    const { y, z } = await running;
    told.push(y[0], ...z);
  }
  const { w } = await session.getState();
  await session.dispose();
  return [...told, ...w];
}
const thread = new SessionThread(await planOf(graph, 'webgpu', {}));
await thread.ready;
const order = [];
const running = thread.ask({ kind: 'run', data: feedsOf(1) }).then(() => order.push('run'));
const staged = thread.ask({ kind: 'stage', number: 1, data: feedsOf(2), lent: [] }).then(() => order.push('stage'));
await Promise.all([running, staged]);
await thread.dispose();
console.log(JSON.stringify({ order, cpu: await learn('cpu', false), plain: await learn('webgpu', false), staged: await learn('webgpu', true) }));
`;

const transformer = { hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 2 };
const vision_config = { ...transformer, image_size: 8, patch_size: 4 };
const residual = { ...{ model_type: 's3a_resnet', image_size: 32, stem_width: 8, stem_pool: true }, blocks: [1, 1] };
const TOWERS = {
  CLIP: { vision_config },
  'CLIP with erf': { vision_config: { ...vision_config, hidden_act: 'gelu' } },
  SigLIP: { model_type: 'siglip', vision_config, text_config: { projection_size: 16 } },
  residual: {
    vision_config: { ...residual, widths: [8, 16], block: 'basic', pool: 'attention', num_attention_heads: 2 },
  },
  bottleneck: { vision_config: { ...residual, widths: [8, 16], block: 'bottleneck', pool: 'mean' } },
};

/** Of a node that ran. */
interface Kernel {
  readonly provider: string;
  readonly op_name: string;
  readonly input_type_shape: readonly Readonly<Record<string, readonly number[]>>[];
}

function profiled(tower: object, precision: string): readonly Kernel[] {
  const folder = mkdtempSync(join(tmpdir(), 's3a-webgpu-'));
  try {
    onDriver(step, JSON.stringify({ tower, precision, profile: join(folder, 'profile') }));
    return readdirSync(folder)
      .flatMap(name => JSON.parse(readFileSync(join(folder, name), 'utf8')) as { name: string; args: Kernel }[])
      .filter(({ name }) => name.endsWith('_kernel_time'))
      .map(({ args }) => args);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Learnt {
  losses: number[];
  state: Record<string, number[]>;
}

function train(half: boolean): { cpu: Learnt; webgpu: Learnt } {
  const programs = [
    ['cpu', half],
    ['webgpu', half],
  ];
  const printed = onDriver(`const PROGRAMS = ${JSON.stringify(programs)};\n${script}`);
  return JSON.parse(printed) as { cpu: Learnt; webgpu: Learnt };
}

describe.skipIf(!hasDriver)(`webgpu (needs ${driver})`, () => {
  it('learns what the CPU learns, with states that stay on the device', () => {
    const { cpu, webgpu } = train(false);
    expect(cpu.losses[11]).toBeLessThan(0.8 * cpu.losses[0]);
    // Float32 on both sides, in different orders; AdamW divides by the size of the gradient.
    expect(webgpu.losses).toBeAllclose(cpu.losses, { rtol: 1e-4, atol: 1e-5 });
    expect(Object.keys(webgpu.state).sort()).toEqual(Object.keys(cpu.state).sort());
    for (const [name, values] of Object.entries(cpu.state)) {
      expect(webgpu.state[name], name).toBeAllclose(values, { rtol: 1e-3, atol: 1e-4 });
    }
  }, 180_000);

  it.for(Object.keys(TOWERS).flatMap(name => [[name, 'fp32'] as const, [name, 'amp'] as const]))(
    'reads nothing back in the middle of the step of a %s tower in %s, and computes nothing but scalars on the processor',
    { timeout: 180_000 },
    ([name, precision], { skip }) => {
      let kernels: readonly Kernel[];
      try {
        kernels = profiled(TOWERS[name as keyof typeof TOWERS], precision);
      } catch (error) {
        if (lacksHalf(error)) return skip('no float16 here');
        throw error;
      }
      const of = (type: RegExp): readonly Kernel[] => kernels.filter(({ op_name }) => type.test(op_name));
      expect(of(/^(?:Gemm|MatMul)$/).length).toBeGreaterThan(10);
      expect(of(/^MemcpyToHost$/)).toEqual([]);
      const sizes = (kernel: Kernel): number[] =>
        kernel.input_type_shape.flatMap(types => Object.values(types).map(shape => shape.reduce((a, b) => a * b, 1)));
      const onCpu = kernels.filter(({ provider }) => provider === 'CPUExecutionProvider');
      // AdamW's bias correction, in float64.
      expect(onCpu.length).toBeGreaterThan(0);
      expect(onCpu.filter(kernel => Math.max(...sizes(kernel)) > 1)).toEqual([]);
      expect(of(/^MemcpyFromHost$/).filter(kernel => Math.max(...sizes(kernel)) > 1)).toEqual([]);
    },
  );

  it('finds the first of the largest entries of a row, and several in falling order', () => {
    const { top, first, two } = JSON.parse(onDriver(rows)) as Record<string, number[]>;
    expect(top).toEqual([3, 7, -1, 4]);
    expect(first).toEqual([1, 0, 4, 6]);
    expect(two).toEqual([1, 3, 0, 5, 4, 3, 6, 2]);
  }, 60_000);

  it('takes the feeds of a run while it computes the run before', () => {
    const { order, cpu, plain, staged } = JSON.parse(onDriver(ahead)) as Record<string, number[]>;
    expect(order).toEqual(['stage', 'run']);
    expect(staged).toEqual(plain);
    expect(plain).toHaveLength(6 * 101 + 100);
    // Sums of 20,000 values in another order.
    expect(plain).toBeAllclose(cpu, { rtol: 1e-3, atol: 1e-2 });
  }, 120_000);

  it('learns in mixed precision what the CPU learns so', ({ skip }) => {
    let learnt: ReturnType<typeof train>;
    try {
      learnt = train(true);
    } catch (error) {
      if (lacksHalf(error)) skip('no float16 here');
      throw error;
    }
    const { cpu, webgpu } = learnt;
    expect(cpu.losses[11]).toBeLessThan(0.8 * cpu.losses[0]);
    expect(cpu.state['scaler.scale'][0]).toBeLessThan(2 ** 24);
    // Within some roundings to 11 bits of each other.
    expect(webgpu.losses).toBeAllclose(cpu.losses, { rtol: 5e-3, atol: 2e-3 });
    expect(webgpu.state['scaler.scale']).toEqual(cpu.state['scaler.scale']);
    expect(webgpu.state['scaler.updates']).toEqual(cpu.state['scaler.updates']);
    for (const name of ['w1', 'w2']) {
      expect(webgpu.state[name], name).toBeAllclose(cpu.state[name], { rtol: 2e-2, atol: 2e-2 });
    }
  }, 180_000);
});
