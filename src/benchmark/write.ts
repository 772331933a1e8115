/** The files of a benchmark: results.json, table.md and the plots. */
import { join } from 'node:path';
import { writeAtomic } from '../io/atomic-write.ts';
import { drawPlots } from './plots.ts';
import type { BenchResults } from './results.ts';
import { markdownTable } from './table.ts';

/** Writes all of them, those of before replaced. */
export async function writeResults(out: string, results: BenchResults): Promise<void> {
  await writeAtomic(join(out, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
  await writeAtomic(join(out, 'table.md'), markdownTable(results));
  for (const [name, svg] of Object.entries(await drawPlots(results))) await writeAtomic(join(out, 'plots', name), svg);
}
