/** The examples run as they stand, and the figure of docs/engine.md is the graph that the engine traces. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What a script of the repository prints; 's3a/engine' is the package itself, as it was built. */
function printed(script: string): string {
  return execFileSync(process.execPath, [script], { cwd: root, encoding: 'utf8', timeout: 50_000 });
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

it('docs/engine-graph.svg is drawn of the program as it is', () => {
  expect(printed('scripts/draw-engine-graph.mjs')).toBe(readFileSync(`${root}/docs/engine-graph.svg`, 'utf8'));
});
