/** The bench of a GPU where there is none: that it runs, and what it says about what is missing. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { modelOf } from '../bench/engine-work.ts';
import { describePlacement, leftToProcessor } from '../bench/gpu-placement.ts';
import { chooseDevice, tryDevice } from '../src/engine/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function bench(...args: string[]) {
  const all = ['dist/bench/main.js', 'gpu', '--python', 'no-such-python', ...args];
  return spawnSync(process.execPath, all, { cwd: root, encoding: 'utf8', timeout: 170_000 });
}

it('measures single steps and several in a call, without PyTorch', () => {
  const small = ['--device', 'cpu', '--models', 'tiny:2', '--rounds', '1', '--product', '32', '--json'];
  const { stdout, stderr, status } = bench(...small, '--steps', '3');
  expect(status).toBe(0);
  expect(stderr).toContain('PyTorch is not there');
  const { rows, peak } = JSON.parse(stdout) as { rows: Record<string, number | string>[]; peak: number };
  expect(rows.map(({ name, unit }) => [name, unit])).toEqual([
    ['product 32x32x32 fp32', 'GFLOP/s'],
    ['product 32x32x32 amp', 'GFLOP/s'],
    ['tiny 2 step fp32, 3 a call', 'images/s'],
    ['tiny 2 step amp, 3 a call', 'images/s'],
  ]);
  for (const { ours, gflops, shareOfPeak } of rows) {
    expect(ours).toBeGreaterThan(0);
    expect(shareOfPeak).toBeCloseTo(Number(gflops) / peak, 10);
  }
  const single = JSON.parse(bench(...small, '--precisions', 'fp32').stdout) as typeof JSON & { rows: typeof rows };
  expect(single.rows.map(({ name }) => name)).toEqual(['product 32x32x32 fp32', 'tiny 2 step fp32']);
  // The work of an image is the same in both.
  const perImage = ({ gflops, ours }: Record<string, number | string>): number => Number(gflops) / Number(ours);
  expect(perImage(rows[2])).toBeCloseTo(perImage(single.rows[1]), 6);
}, 180_000);

it('says what it takes', () => {
  const { stdout, status } = bench('--help');
  expect(status).toBe(0);
  for (const option of ['device', 'models', 'steps', 'rounds', 'python', 'eager', 'json']) {
    expect(stdout).toContain(`--${option}`);
  }
});

it('says in one line which provider is missing, and how to get it', async ({ skip }) => {
  const { lacks } = await tryDevice('cuda');
  if (!lacks) skip('there is CUDA');
  const { stdout, stderr, status } = bench('--device', 'cuda');
  expect([stdout, status]).toEqual(['', 1]);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(stderr).toContain(lacks!.message);
  expect(stderr).toContain(lacks!.hint);
  if ((await chooseDevice('auto')).device === 'cpu') expect(bench().stderr).toMatch(/^there is no GPU: .*--device cpu/);
}, 120_000);

describe('what the processor has of a step', () => {
  const event = (op_name: string, provider: string, ...shapes: number[][]) => ({
    name: `${op_name}_kernel_time`,
    args: { op_name, provider, input_type_shape: shapes.map(shape => ({ float: shape })) },
  });

  it('is counted by operator, with the largest input of each', () => {
    const events = [
      event('Gemm', 'CUDAExecutionProvider', [64, 64], [64, 64]),
      event('Pad', 'CPUExecutionProvider', [8, 197, 768], [6]),
      event('Pad', 'CPUExecutionProvider', [197, 768]),
      event('Mul', 'CPUExecutionProvider', [1], []),
      event('Loop', 'CPUExecutionProvider', [99]),
      event('MemcpyToHost', 'CUDAExecutionProvider', [1]),
      { name: 'model_run' },
    ];
    expect(describePlacement(events)).toBe(
      'of 6 nodes the processor has 2 Pad (up to 8 x 197 x 768) and 1 nodes of at most 16 values; it waits for the GPU 1 times on the way',
    );
    expect(describePlacement(events.slice(0, 1))).toBe(
      'of 1 nodes the processor has 0 nodes of at most 16 values; it waits for the GPU 0 times on the way',
    );
  });

  it('is all of it where there is nothing else, loops included', async () => {
    const line = await leftToProcessor(await modelOf('tiny:2', 12), { device: 'cpu', precision: 'fp32', steps: 2 });
    expect(line).toMatch(/^of \d{3,} nodes the processor has .*\d+ Gemm \(up to /);
  }, 60_000);
});
