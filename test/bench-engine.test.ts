/** The engine's bench as it is called: rows that a machine can read, and a profile by place. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { summariseProfile } from '../bench/engine-profile.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function bench(...args: string[]): string {
  const all = ['dist/bench/main.js', 'engine', '--models', 'tiny:2', '--threads', '1', '--python', 'no-such-python'];
  return execFileSync(process.execPath, [...all, ...args], { cwd: root, encoding: 'utf8', timeout: 170_000 });
}

it('prints a row for each peer of a piece of work, and only what is asked for', () => {
  const { rows, peak } = JSON.parse(bench('--rounds', '1', '--only', '2 embed,2 train', '--json')) as {
    rows: Record<string, unknown>[];
    peak: number;
  };
  expect(rows.map(row => [row.name, String(row.peerName).split(' ')[0]])).toEqual([
    ['tiny 2 embed', '@huggingface/transformers'],
    ['tiny 2 embed', 'onnxruntime-node'],
    ['tiny 2 train', 'undefined'],
  ]);
  for (const { ours, gflops, shareOfPeak, peer, ratio } of rows as Record<string, number>[]) {
    expect(ours).toBeGreaterThan(0);
    expect(shareOfPeak).toBeCloseTo(gflops / peak, 10);
    if (peer !== undefined) expect(ratio).toBeCloseTo(ours / peer, 10);
  }
  // Forward and twice as much backward; the first layer needs no gradient of the image.
  const perImage = (row: Record<string, unknown>): number => Number(row.gflops) / Number(row.ours);
  expect(perImage(rows[2]) / perImage(rows[0])).toBeGreaterThan(2.5);
  expect(perImage(rows[2]) / perImage(rows[0])).toBeLessThan(3.1);
}, 180_000);

it('profiles by place', () => {
  const lines = bench('--rounds', '1', '--only', '2 train', '--profile').split('\n');
  const places = lines.flatMap(line => /^ {2}(\w[\w ]*?) {2,}/.exec(line)?.[1] ?? []);
  expect(places.sort()).toEqual(['backward', 'between nodes', 'forward', 'update']);
}, 180_000);

it('takes the median run of a profile, without the first', () => {
  const run = (ts: number, dur: number) => ({ cat: 'Session', name: 'model_run', ts, dur });
  const node = (name: string, ts: number, dur: number, op_name: string) => ({
    cat: 'Node',
    name: `${name}_kernel_time`,
    ts,
    dur,
    args: { op_name },
  });
  const events = [100, 200, 300, 400].flatMap((ts, i) => [
    run(ts, [90, 20, 40, 30][i]),
    node('/Gemm/3', ts + 1, i + 10, 'Gemm'),
    node('backward/Mul/7', ts + 2, 5, 'Mul'),
    node('teacher/Gemm/4/fused', ts + 3, 2, 'FusedGemm'),
  ]);
  expect(summariseProfile(events, 1)).toEqual({
    run: 0.03,
    nodes: 3,
    lines: [
      { place: 'forward', operator: 'Gemm', milliseconds: 0.013, nodes: 1 },
      { place: 'backward', operator: 'Mul', milliseconds: 0.005, nodes: 1 },
      { place: 'teacher', operator: 'FusedGemm', milliseconds: 0.002, nodes: 1 },
    ],
  });
});
