/** The examples run as they stand, and the figure of docs/engine.md is the graph that the engine traces. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What a script of the repository prints; 's3a/engine' is the package itself, as it was built. */
function printed(script: string, ...args: string[]): string {
  return execFileSync(process.execPath, [script, ...args], { cwd: root, encoding: 'utf8', timeout: 50_000 });
}

it('examples/spirals.mjs learns its spirals', () => {
  const lines = printed('examples/spirals.mjs').trim().split('\n');
  const report = lines.map(line => /^step (\d+): loss ([\d.]+), (\d+) % right$/.exec(line)?.slice(1).map(Number) ?? []);
  expect(report.map(([step]) => step)).toEqual([1, 100, 200, 300]);
  const [first, last] = [report[0], report[3]];
  // Three classes that nothing is known of: ln 3.
  expect(first[1]).toBeGreaterThan(0.9);
  expect(last[1]).toBeLessThan(0.1);
  expect(last[2]).toBeGreaterThan(97);
});

it('examples/convnet.mjs learns its stripes and leaves a model that knows new ones', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3a-convnet-'));
  try {
    const lines = printed('examples/convnet.mjs', folder).trim().split('\n');
    const losses = lines.slice(0, -1).map(line => Number(/^step \d+: loss ([\d.]+)$/.exec(line)?.[1]));
    expect(losses).toHaveLength(5);
    expect(losses[4]).toBeLessThan(losses[0] / 4);
    expect(Number(/^new images: (\d+) of 100 right/.exec(lines[5])?.[1])).toBeGreaterThan(90);
    expect(readdirSync(folder).sort()).toEqual(['convnet.onnx', 'convnet.safetensors']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('docs/engine-graph.svg is drawn of the program as it is', () => {
  expect(printed('scripts/draw-engine-graph.mjs')).toBe(readFileSync(`${root}/docs/engine-graph.svg`, 'utf8'));
});
