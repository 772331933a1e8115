/**
 * Device webgpu with its states on the device, on Chromium's software driver for Vulkan: S3A_VULKAN names the folder with
 * `vk_swiftshader_icd.json` and `libvulkan.so.1`, by default that of Debian's chromium.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = process.env.S3A_VULKAN ?? '/usr/lib/chromium';
const driver = `${folder}/vk_swiftshader_icd.json`;

/** A tower of two layers, trained for some steps; prints what it reports and what it has learnt. */
const script = `
import * as e from 's3a/engine';
const shapes = { w1: [8, 4], b1: [8], w2: [3, 8], never: [3] };
const weights = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, e.state(name, shape)]));
const fixed = e.state('fixed', [3]);
const x = e.input('x', 'float32', [16, 4]);
const labels = e.input('labels', 'int32', [16]);
const hidden = e.quickGelu(e.linear(x, weights.w1, weights.b1));
const logits = e.mul(e.add(e.linear(hidden, weights.w2), weights.never), fixed);
const loss = e.mean(e.crossEntropy(logits, labels));
const d = e.gradient(loss, Object.values(weights));
const gradients = Object.fromEntries(Object.keys(weights).map((name, i) => [name, d[i]]));
const [rate, step] = [e.input('rate', 'float32', []), e.input('step', 'float32', [])];
const graph = e.program({ loss, ...e.adamW(weights, gradients, rate, step) });
const values = (n, seed) => Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * i));
const out = {};
for (const device of ['cpu', 'webgpu']) {
  const session = await e.compile(graph, { device });
  await session.setState({ w1: values(32, 1), w2: values(24, 2), fixed: Float32Array.of(1, 2, 0.5) });
  const losses = [];
  for (let i = 1; i <= 12; i++) {
    const feeds = { x: values(64, 3), labels: Int32Array.from({ length: 16 }, (_, j) => j % 3) };
    const report = await session.run({ ...feeds, rate: Float32Array.of(0.05), step: Float32Array.of(i) });
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

describe.skipIf(!existsSync(driver))(`webgpu (needs ${driver})`, () => {
  it('learns what the CPU learns, with states that stay on the device', () => {
    const env = { ...process.env, VK_DRIVER_FILES: driver, LD_LIBRARY_PATH: folder };
    const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: root,
      env,
      encoding: 'utf8',
      timeout: 170_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const { cpu, webgpu } = JSON.parse(printed) as { cpu: Learnt; webgpu: Learnt };
    expect(cpu.losses[11]).toBeLessThan(0.8 * cpu.losses[0]);
    // Float32 on both sides, in different orders; AdamW divides by the size of the gradient.
    expect(webgpu.losses).toBeAllclose(cpu.losses, { rtol: 1e-4, atol: 1e-5 });
    expect(Object.keys(webgpu.state).sort()).toEqual(Object.keys(cpu.state).sort());
    for (const [name, values] of Object.entries(cpu.state)) {
      expect(webgpu.state[name], name).toBeAllclose(values, { rtol: 1e-3, atol: 1e-4 });
    }
  }, 180_000);
});
