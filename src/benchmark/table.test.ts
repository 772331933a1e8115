import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config/schema.ts';
import { sealLabels } from '../evaluate/sealed-labels.ts';
import type { ProtocolData } from '../protocols/load.ts';
import { makeVocabulary } from '../vocab/vocabulary.ts';
import { ABLATIONS } from './ablations/index.ts';
import { comparisonTable } from './comparison.ts';
import { methodOf } from './methods/index.ts';
import { planCells } from './plan.ts';
import { barSpec, drawPlots } from './plots.ts';
import { publishedFigures } from './published.ts';
import { type Computed, resultsOf } from './results.ts';
import { figuresOf } from './score.ts';
import { markdownTable } from './table.ts';

const vocabulary = makeVocabulary('v', [{ synonyms: ['cat'] }, { synonyms: ['dog'] }, { synonyms: ['owl'] }]);
const files = Array.from({ length: 10 }, (_, i) => `${i}.jpg`);
const sealed = sealLabels({
  ...{ files, labels: files.map((_, i) => (i < 4 ? 0 : 1)), origins: String },
  classes: [{ name: 'cat' }, { name: 'dog' }],
});
/** The first of the ten are wrong. */
const figures = await Promise.all(
  files.map((_, wrong) => {
    const names = files.map((__, i) => (i < wrong ? 'owl' : i < 4 ? 'cat' : 'dog'));
    return figuresOf({ files, names }, sealed, vocabulary);
  }),
);

function results(protocol: string, seeds: number[]) {
  const methods = [methodOf('clip'), methodOf('s3a')];
  const config = parseConfig({ k: 2 });
  const plan = planCells(methods, [ABLATIONS[1], ABLATIONS[0]], seeds, { config, k: 2, names: 3, trained: false });
  const computed: Computed[] = plan.cells.flatMap(cell => {
    if (cell.ablation === 'components' && cell.variant.name !== 'C V P R I S') return [];
    const { name, reads } = cell.variant.method;
    const one = (part: string, wrong: number) => ({ part, train: figures[wrong], test: figures[wrong + 1] });
    const outcomes = reads.length === 0 ? [one('', 3)] : [one('student', cell.seed), one('teacher', 2 * cell.seed)];
    const result = { key: `${name} ${cell.seed}`, method: name, seed: cell.seed, seconds: 30, finished: '', outcomes };
    return [{ cell, result, hashes: { model: 'm', train: `images ${cell.seed}`, test: 't' } }];
  });
  const images = { count: 10 } as ProtocolData['splits']['train']['images'];
  const split = { images, labels: sealed };
  return resultsOf({
    protocol: {
      ...{ name: protocol, title: 'Animals', k: 2, outOfVocabulary: false, drawn: false, settings: {} },
      splits: { train: split, test: split },
    },
    ...{ plan, order: { seeds, settings: {} }, base: config, vocabulary, computed, failures: [] },
    began: performance.now(),
  });
}

describe('results', () => {
  it('are the mean and the spread over seeds', () => {
    const { table, hashes, cells, seconds } = results('animals', [0, 1, 2]);
    const teacher = table.find(({ part }) => part === 'teacher')!;
    expect(teacher.title).toBe('S³A, teacher');
    // 10, 8 and 6 of ten.
    expect(teacher.train.top1).toMatchObject({ runs: 3, mean: expect.closeTo(0.8, 12), sd: expect.closeTo(0.2, 12) });
    expect(teacher.test?.top1?.mean).toBeCloseTo(0.7, 12);
    expect(teacher.train.semantic).toBeUndefined();
    expect(hashes).toMatchObject({
      model: 'm',
      images: { 0: { train: 'images 0' }, 2: { train: 'images 2', test: 't' } },
    });
    expect(cells.done).toBeLessThan(cells.wanted);
    // Cells that an ablation shares with the table count once.
    expect(seconds.cells).toBe(180);
  });

  it('are a table in Markdown that says when it is not complete', () => {
    const markdown = markdownTable(results('animals', [0, 1, 2]));
    expect(markdown).toContain('| S³A, teacher | 80.0 ± 20.0 | ');
    expect(markdown).toContain('**Incomplete: ');
    expect(markdown).toContain('## Components');
    expect(markdown).toContain('| C V P R I S | teacher | 80.0 ± 20.0 |');
    expect(markdown).not.toContain('published');
    expect(markdown).not.toContain('seeds)');
    const some = results('animals', [0, 1, 2]);
    some.seeds.push(3);
    expect(markdownTable(some)).toContain('| S³A, teacher (3 of 4 seeds) | 80.0 ± 20.0 | ');
    const rows = markdown.split('\n').filter(line => line.startsWith('|'));
    const first = rows.slice(0, 5).map(row => row.split(' | ').length);
    expect(new Set(first).size).toBe(1);
  });

  it('with one seed have the interval over images', () => {
    // Seven of ten images.
    expect(markdownTable(results('animals', [0]))).toMatch(/\| CLIP, all names \| 70\.0 \[(2|3|4)0\.0, 90\.0\] \|/);
  });

  it('of several protocols are one table', () => {
    const [one, two] = [results('animals', [0, 1, 2]), results('plants', [0])];
    two.seeds.push(1);
    two.table = two.table.filter(({ part }) => part !== 'student');
    const text = comparisonTable([one, two]);
    expect(text).toContain('| method | Animals | Animals |');
    expect(text).toContain('| S³A, teacher | 80.0 ± 20.0 | 100.0 (1 of 2 seeds) |');
    expect(text).toContain('| S³A, student | 90.0 ± 10.0 |  |');
    expect(text).toMatch(/\*\*Incomplete\.\*\* Animals: \d+ of \d+ cells;/);
    const whole = [one, two].map(each => ({ ...each, cells: { wanted: 3, done: 3 } }));
    expect(comparisonTable(whole)).not.toContain('Incomplete');
  });

  it('stand beside the published figures of the same protocol', () => {
    const markdown = markdownTable(results('living17', [0, 1]));
    expect(markdown).toContain('| CLIP, all names | 70.0 | 37.3 | ');
    expect(markdown).toContain('| S³A, student | 95.0 | 48.3 | ');
    expect(publishedFigures('imagenet-1k', 's3a', 'student')).toEqual({ top1: 42.4, clustering: 63.2 });
    expect(publishedFigures('stanford-dogs', 'kmeans-vote', '')).toEqual({ top1: 19.4 });
    expect(publishedFigures('cifar-100', 'clip', '')).toBeUndefined();
  });
});

describe('plots', () => {
  it('are SVG with a bar for each line and split, and a curve for each ablation with an axis', async () => {
    const plots = await drawPlots(results('animals', [0, 1]));
    expect(Object.keys(plots)).toEqual(['table.svg', 'w-str.svg', 'components.svg']);
    // Three lines on two splits.
    const bars = plots['table.svg'].match(/<path [^>]*d="M0,[^"]*h[\d.]+v[^"]*"[^>]*fill="#(3b6ea5|d98032)"/g);
    expect(bars?.length).toBe(6);
    expect(plots['table.svg']).toContain('S³A, teacher');
    for (const svg of Object.values(plots)) {
      const { width = 0, format } = await sharp(Buffer.from(svg)).metadata();
      expect([format, width > 400]).toEqual(['svg', true]);
    }
    expect(await drawPlots(results('animals', [0, 1]))).toEqual(plots);
  });

  it('a bar begins at zero and ends at its figure', async () => {
    const point = { series: 'a', label: 'x', mean: 0.5, low: 0.5, high: 1 };
    const { parse, View } = await import('vega');
    const view = new View(parse(barSpec('t', [point])), { renderer: 'none' });
    await view.runAsync();
    const scale = view.scale('x') as (value: number) => number;
    expect([scale(0), scale(1)]).toEqual([0, 520]);
    const svg = await view.toSVG();
    expect(svg).toMatch(/M0,[\d.]+h260v/);
    view.finalize();
  });
});
