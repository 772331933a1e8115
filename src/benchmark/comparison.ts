/** Several protocols in one table: a method a line, a protocol a column. */
import type { BenchResults, Line, Measure } from './results.ts';
import { markdownRows } from './table.ts';

/**
 * Markdown of top-1 and clustering accuracy on both splits, mean over seeds ± standard deviation of one seed, in %.
 * Lines that lack seeds say so; without any result the text is empty.
 */
export function comparisonTable(all: readonly BenchResults[]): string {
  const parts = [
    section('Top-1, training images', all, 'train', 'top1'),
    section('Top-1, test images', all, 'test', 'top1'),
    section('Clustering accuracy, training images', all, 'train', 'clustering'),
  ];
  const missing = all.filter(({ cells }) => cells.done < cells.wanted);
  const note = missing.map(({ protocol, cells }) => `${protocol.title}: ${cells.done} of ${cells.wanted} cells`);
  return [
    ...parts.filter(part => part !== ''),
    ...(note.length > 0 ? [`**Incomplete.** ${note.join('; ')}.`] : []),
    '',
  ].join('\n\n');
}

function section(title: string, all: readonly BenchResults[], split: 'train' | 'test', measure: Measure): string {
  const lines = new Map<string, string>();
  for (const { table } of all) {
    for (const line of table) if (!line.step && line[split]?.[measure]) lines.set(keyOf(line), line.title);
  }
  if (lines.size === 0) return '';
  const rows = [...lines].map(([key, name]) => [
    name,
    ...all.map(({ table, seeds }) =>
      figureOf(
        table.find(line => keyOf(line) === key),
        split,
        measure,
        seeds.length,
      ),
    ),
  ]);
  return `${title}, in %\n\n${markdownRows({ header: ['method', ...all.map(({ protocol }) => protocol.title)], rows })}`;
}

function keyOf({ method, part }: Line): string {
  return `${method}/${part}`;
}

function figureOf(line: Line | undefined, split: 'train' | 'test', measure: Measure, seeds: number): string {
  const spread = line?.[split]?.[measure];
  if (!spread) return '';
  const share = (value: number): string => (100 * value).toFixed(1);
  const lacking = spread.runs < seeds ? ` (${spread.runs} of ${seeds} seeds)` : '';
  return `${share(spread.mean)}${spread.sd === undefined ? '' : ` ± ${share(spread.sd)}`}${lacking}`;
}
