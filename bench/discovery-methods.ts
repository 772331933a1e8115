/** `npm run bench -- methods`: how much each part of discovery is worth, on draws with known truth. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadClip } from '../src/clip/clip.ts';
import { openBench, openContext } from './discovery-context.ts';
import { DRAW_KINDS } from './discovery-draws.ts';
import { type Scores, scoresOf } from './discovery-scores.ts';
import { AUTO, automatic, OFF, type Parts, reference } from './discovery-variants.ts';

export async function benchMethods(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: 'string', default: '100-111' },
      threads: { type: 'string' },
      grid: { type: 'string' },
      kinds: { type: 'string' },
    },
  });
  const [first, last] = values.seeds.split('-').map(Number);
  const clip = await loadClip('demo', { batch: 128, threads: 1 });
  const bench = await openBench(clip, join('.cache', 'methods'), 1);
  const grid: Record<string, Partial<Parts>> = JSON.parse(values.grid ?? '{}');
  const kinds = values.kinds ? values.kinds.split(',').map(i => DRAW_KINDS[Number(i)]) : DRAW_KINDS;
  const out = new Map<string, Map<string, Scores[]>>();
  for (let seed = first; seed <= last; seed++) {
    for (const kind of kinds) {
      const c = await openContext(bench, seed, kind);
      const run = async (name: string, f: () => Promise<Int32Array>) => {
        const t = performance.now();
        const labels = await f();
        const s = scoresOf(c, labels, (performance.now() - t) / 1000);
        if (!out.has(name)) out.set(name, new Map());
        const m = out.get(name)!;
        m.set(kind.name, [...(m.get(kind.name) ?? []), s]);
      };
      if (grid.vote) await run('vote', () => reference(c, false));
      if (grid.s3a) await run('s3a', () => reference(c, true));
      for (const [name, parts] of Object.entries(grid))
        if (name !== 's3a' && name !== 'vote') await run(name, () => automatic(c, { ...AUTO, ...parts }));
    }
  }
  for (const [name, m] of out) {
    const f = (k: keyof Scores, l: Scores[]) => l.reduce((a, b) => a + b[k], 0) / l.length;
    const cells = [...m.values()].map(
      l =>
        `[${(100 * f('top1', l)).toFixed(1)} c${(100 * f('clusters', l)).toFixed(0)} r${(100 * f('recall', l)).toFixed(0)} u${(100 * f('unknown', l)).toFixed(0)} n${f('names', l).toFixed(0)} ${f('seconds', l).toFixed(1)}s]`,
    );
    const all = [...m.values()].map(l => f('top1', l));
    console.log(name.padEnd(14), ((100 * all.reduce((a, b) => a + b, 0)) / all.length).toFixed(1), cells.join(' '));
  }
  await clip.dispose();
  void OFF;
}
