/** The results as Markdown and as plain rows. */
import { PUBLISHED_SOURCE, publishedFigures } from './published.ts';
import type { BenchResults, Line, Measure, Summary, VariantResult } from './results.ts';

interface Column {
  title: string;
  measure: Measure;
  split: 'train' | 'test';
}

const COLUMNS: readonly Column[] = [
  { title: 'top-1', measure: 'top1', split: 'train' },
  { title: 'cluster acc', measure: 'clustering', split: 'train' },
  { title: 'NMI', measure: 'nmi', split: 'train' },
  { title: 'ARI', measure: 'ari', split: 'train' },
  { title: 'names found', measure: 'nameRecall', split: 'train' },
  { title: 'IoU', measure: 'nameIou', split: 'train' },
  { title: 'semantic', measure: 'semantic', split: 'train' },
  { title: 'test top-1', measure: 'top1', split: 'test' },
  { title: 'test cluster acc', measure: 'clustering', split: 'test' },
  { title: 'test semantic', measure: 'semantic', split: 'test' },
];

/** Header and rows of the main table, or with `steps` of the steps of the methods; columns that nobody has are left out. */
export function tableRows(
  lines: readonly Line[],
  seeds: number,
  steps = false,
): { header: string[]; rows: string[][] } {
  const shown = lines.filter(line => (line.step ?? false) === steps);
  const columns = usedColumns(shown);
  return {
    header: ['method', ...columns.map(({ title }) => title)],
    rows: shown.map(line => [line.title + lacking(line, seeds), ...columns.map(column => cellOf(line, column))]),
  };
}

/** `table.md`. */
export function markdownTable(results: BenchResults): string {
  const { protocol, seeds, config, vocabulary, cells, failures, ablations, seconds, versions } = results;
  const { title, images, classes, k } = protocol;
  const several = seeds.length > 1;
  const parts = [
    `# ${title}`,
    `${images.train} training and ${images.test} test images of ${classes} classes, K = ${typeof config.k === 'number' ? config.k : `${config.k} (true: ${k})`}; ` +
      `${vocabulary.names} names; model ${config.model}; ${several ? `seeds ${seeds.join(', ')}` : `seed ${seeds[0]}`}; ` +
      `${Math.round(seconds.cells / 6) / 10} minutes of computing; s3a ${versions.s3a}.`,
    several
      ? `Figures in %: mean over seeds ± standard deviation of one seed${protocol.drawn ? '; each seed draws other classes and images' : ''}.`
      : 'Figures in %; in brackets the 95 % interval by resampling the images.',
    'Found names and clusters of the training images; top-1 over the whole vocabulary. Test images, which no method has seen, are named ' +
      'over the whole vocabulary by CLIP and by students and teachers, and over the names it has found by discovery alone.',
    results.semanticModel === undefined
      ? protocol.outOfVocabulary
        ? 'True names are missing from the usual vocabularies: the semantic score (`--semantic-model`) is the one that counts here.'
        : ''
      : `Semantic: mean cosine x 100 between the embeddings of the given and the true names by ${results.semanticModel}.`,
    cells.done < cells.wanted ? `**Incomplete: ${cells.done} of ${cells.wanted} cells are there.**` : '',
    markdownRows(tableRows(results.table, seeds.length)),
    published(results),
    results.table.some(({ step }) => step) ? '## Steps' : '',
    results.table.some(({ step }) => step) ? markdownRows(tableRows(results.table, seeds.length, true)) : '',
    ...ablations.flatMap(({ title: name, about, variants }) => [
      `## ${name}`,
      about,
      variants.length > 0 ? markdownRows(ablationRows(variants, seeds.length)) : 'Nothing yet.',
    ]),
    failures.length > 0 ? '## Failures' : '',
    failures.map(({ variant, seed, reason }) => `- ${variant}, seed ${seed}: ${reason}`).join('\n'),
  ];
  return `${parts.filter(part => part !== '').join('\n\n')}\n`;
}

/** Header and rows of an ablation: a line a variant, by the network that counts. */
export function ablationRows(
  variants: readonly VariantResult[],
  seeds: number,
): { header: string[]; rows: string[][] } {
  const lines = variants.flatMap(({ name, lines: all }) =>
    all.filter(({ step }) => !step).map(line => ({ name, line })),
  );
  const columns = usedColumns(lines.map(({ line }) => line));
  return {
    header: ['variant', 'by', ...columns.map(({ title }) => title)],
    rows: lines.map(({ name, line }) => [
      name + lacking(line, seeds),
      line.part === '' ? 'names' : line.part,
      ...columns.map(column => cellOf(line, column)),
    ]),
  };
}

/** Says of a line that it has not all the seeds yet: its figure is not to be compared with the others. */
function lacking(line: Line, seeds: number): string {
  return line.seeds.length < seeds ? ` (${line.seeds.length} of ${seeds} seeds)` : '';
}

function usedColumns(lines: readonly Line[]): Column[] {
  return COLUMNS.filter(({ measure, split }) => lines.some(line => line[split]?.[measure] !== undefined));
}

function cellOf(line: Line, { measure, split }: Column): string {
  const summary: Summary | undefined = line[split];
  const spread = summary?.[measure];
  if (!spread) return '';
  const value = percent(spread.mean);
  if (spread.sd !== undefined) return `${value} ± ${percent(spread.sd)}`;
  const range = measure === 'top1' ? line.interval[split] : undefined;
  return range ? `${value} [${percent(range.low)}, ${percent(range.high)}]` : value;
}

function published({ protocol, table }: BenchResults): string {
  const rows = table.flatMap(({ method, part, title, train }) => {
    const figures = publishedFigures(protocol.name, method, part);
    if (!figures) return [];
    const ours = (measure: Measure): string => (train[measure] ? percent(train[measure].mean) : '');
    return [[title, ours('top1'), figures.top1.toFixed(1), ours('clustering'), figures.clustering?.toFixed(1) ?? '']];
  });
  if (rows.length === 0) return '';
  const header = ['method', 'top-1', 'published', 'cluster acc', 'published'];
  return `## Beside the published figures\n\n${PUBLISHED_SOURCE}\n\n${markdownRows({ header, rows })}`;
}

/** A table in Markdown; all columns but the first are aligned to the right. */
export function markdownRows({ header, rows }: { header: string[]; rows: string[][] }): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = `| --- |${' ---: |'.repeat(header.length - 1)}`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}
