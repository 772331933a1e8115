/**
 * Device webgpu with its states on the device, on a software driver for Vulkan: the one that VK_DRIVER_FILES names (with
 * LD_LIBRARY_PATH to its libvulkan.so.1), otherwise Chromium's in the folder S3A_VULKAN, by default that of Debian's chromium.
 *
 * Chromium's computes no float16; Mesa's (lavapipe, version 25) does.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = process.env.S3A_VULKAN ?? '/usr/lib/chromium';
const driver = process.env.VK_DRIVER_FILES ?? `${folder}/vk_swiftshader_icd.json`;

/**
 * A tower of two layers with attention between them, trained for some steps by every way in PROGRAMS; prints what each reports and
 * has learnt, and which device computed it. The last way writes a profile.
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
for (const [device, half, profile] of PROGRAMS) {
  const graph = training(half);
  const session = await e.compile(graph, { device, profile: profile ?? undefined });
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

interface Learnt {
  losses: number[];
  state: Record<string, number[]>;
}

function train(half: boolean, profile?: string): { cpu: Learnt; webgpu: Learnt } {
  const own = process.env.VK_DRIVER_FILES !== undefined;
  const env = own ? process.env : { ...process.env, VK_DRIVER_FILES: driver, LD_LIBRARY_PATH: folder };
  const programs = [
    ['cpu', half],
    ['webgpu', half, profile],
  ];
  const code = `const PROGRAMS = ${JSON.stringify(programs)};\n${script}`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', code], {
    ...{ cwd: root, env, encoding: 'utf8' as const, timeout: 170_000 },
    stdio: ['ignore', 'pipe', half ? 'pipe' : 'ignore'],
  });
  return JSON.parse(printed) as { cpu: Learnt; webgpu: Learnt };
}

describe.skipIf(!existsSync(driver))(`webgpu (needs ${driver})`, () => {
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

  it('computes nothing but scalars and indices on the CPU', () => {
    const folder = mkdtempSync(join(tmpdir(), 's3a-webgpu-'));
    try {
      train(false, join(folder, 'profile'));
      const events = readdirSync(folder).flatMap(
        name => JSON.parse(readFileSync(join(folder, name), 'utf8')) as { name: string; args?: ProfileArgs }[],
      );
      const kernels = events.filter(({ name }) => name.endsWith('_kernel_time')).map(({ args }) => args!);
      const onCpu = kernels.filter(({ provider }) => provider === 'CPUExecutionProvider');
      expect(kernels.filter(({ op_name }) => op_name === 'MatMul' || op_name === 'Gemm').length).toBeGreaterThan(0);
      const large = onCpu.filter(({ input_type_shape }) =>
        input_type_shape.some(types => (types.float ?? []).some(extent => extent > 1)),
      );
      expect(large).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 180_000);

  it('learns in mixed precision what the CPU learns so', ({ skip }) => {
    let learnt: ReturnType<typeof train>;
    try {
      learnt = train(true);
    } catch (error) {
      if (String((error as { stderr?: unknown }).stderr).includes('computes no float16')) skip('no float16 here');
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

interface ProfileArgs {
  provider: string;
  op_name: string;
  input_type_shape: Record<string, number[]>[];
}
