/** Figures as SVG, drawn by Vega: bars with intervals, and curves of ablations. */
import type { Mark, Scale, Spec } from 'vega';
import type { BenchResults, Line, Summary } from './results.ts';
import type { Range } from './score.ts';

/** One bar or point; shares are 0–1. */
export interface Point {
  /** What a bar stands for, or the line that a point is of. */
  series: string;
  label: string;
  value?: number;
  mean: number;
  low: number;
  high: number;
}

const COLOURS = ['#3b6ea5', '#d98032', '#5a9367', '#a05195', '#7f7f7f'];
const BAR = 18;
const FONT = 'sans-serif';

/** The plots of results by their file names. */
export async function drawPlots(results: BenchResults): Promise<Record<string, string>> {
  const plots: Record<string, string> = {};
  const title = `${results.protocol.title}: top-1 in %`;
  const bars = results.table.filter(({ step }) => !step).flatMap(line => pointsOf(line, line.title));
  if (bars.length > 0) plots['table.svg'] = await render(barSpec(title, bars));
  for (const { name, title: about, axis, variants } of results.ablations) {
    // The line that counts is the last: the teacher's where there is one. The table has the others.
    const points = variants.flatMap(({ name: variant, value, lines }) =>
      lines
        .filter(({ step }) => !step)
        .slice(-1)
        .flatMap(line =>
          pointsOf(line, variant).map(point => ({
            ...point,
            ...(axis && { value, series: `${line.title}, ${point.series}` }),
          })),
        ),
    );
    if (points.length === 0) continue;
    const heading = `${results.protocol.title}, ${about.toLowerCase()}: top-1 in %`;
    plots[`${name}.svg`] = await render(axis ? curveSpec(heading, points, axis) : barSpec(heading, points));
  }
  return plots;
}

/** A line's figure on both splits, with its interval over seeds, or over images where there is one seed. */
function pointsOf({ train, test, interval }: Line, label: string): Point[] {
  const point = (series: string, summary: Summary | undefined, range: Range | undefined): Point[] => {
    const spread = summary?.top1;
    if (!spread) return [];
    const { mean, low = range?.low ?? mean, high = range?.high ?? mean } = spread;
    return [{ series, label, mean, low: Math.max(0, low), high: Math.min(1, high) }];
  };
  return [...point('training images', train, interval.train), ...point('test images', test, interval.test)];
}

/** Horizontal bars in groups of one label, with a whisker each. */
export function barSpec(title: string, points: readonly Point[]): Spec {
  const labels = [...new Set(points.map(({ label }) => label))];
  const series = [...new Set(points.map(point => point.series))];
  const inner: Mark[] = [
    {
      type: 'rect',
      from: { data: 'group' },
      encode: {
        enter: {
          y: { scale: 'inner', field: 'series' },
          height: { scale: 'inner', band: 1 },
          x: { scale: 'x', value: 0 },
          x2: { scale: 'x', field: 'mean' },
          fill: { scale: 'colour', field: 'series' },
        },
      },
    },
    whisker('inner', 'series'),
  ];
  return {
    ...frame(title, 520, labels.length * Math.max(1, series.length) * BAR),
    data: [{ name: 'points', values: [...points] }],
    scales: [
      { name: 'y', type: 'band', domain: labels, range: 'height', paddingInner: 0.25 },
      shareScale('x', 'width'),
      colours(series),
    ],
    axes: [
      { orient: 'left', scale: 'y', domain: false, ticks: false, labelLimit: 340 },
      { orient: 'bottom', scale: 'x', grid: true, format: '%', tickCount: 6 },
    ],
    legends: [{ fill: 'colour', orient: 'bottom', direction: 'horizontal', labelLimit: 400 }],
    marks: [
      {
        type: 'group',
        from: { facet: { data: 'points', name: 'group', groupby: 'label' } },
        encode: { enter: { y: { scale: 'y', field: 'label' } } },
        signals: [{ name: 'height', update: "bandwidth('y')" }],
        scales: [{ name: 'inner', type: 'band', domain: series, range: 'height', padding: 0.08 }],
        marks: inner,
      },
    ],
  };
}

/** Curves of the series over their values, with a whisker at each point. */
function curveSpec(title: string, points: readonly Point[], axis: { title: string; scale: string }): Spec {
  const series = [...new Set(points.map(point => point.series))];
  const values = points.filter(({ value }) => value !== undefined);
  // A logarithm has no zero.
  const type = axis.scale === 'log' && values.every(({ value }) => value! > 0) ? 'log' : 'linear';
  const x: Scale = {
    name: 'x',
    type,
    domain: { data: 'points', field: 'value' },
    range: 'width',
    zero: false,
    padding: 12,
  };
  const at = { x: { scale: 'x', field: 'value' }, y: { scale: 'y', field: 'mean' } };
  return {
    ...frame(title, 520, 300),
    data: [{ name: 'points', values: values.map(point => ({ ...point })) }],
    scales: [x, shareScale('y', 'height', false), colours(series)],
    axes: [
      { orient: 'bottom', scale: 'x', title: axis.title, tickCount: 8 },
      { orient: 'left', scale: 'y', grid: true, format: '%', tickCount: 6 },
    ],
    legends: [{ fill: 'colour', orient: 'bottom', direction: 'vertical', labelLimit: 400, symbolType: 'circle' }],
    marks: [
      {
        type: 'group',
        from: { facet: { data: 'points', name: 'series', groupby: 'series' } },
        marks: [
          {
            type: 'line',
            from: { data: 'series' },
            sort: { field: 'x' },
            encode: { enter: { ...at, stroke: { scale: 'colour', field: 'series' }, strokeWidth: { value: 2 } } },
          },
          {
            type: 'rule',
            from: { data: 'series' },
            encode: {
              enter: {
                x: at.x,
                y: { scale: 'y', field: 'low' },
                y2: { scale: 'y', field: 'high' },
                stroke: { scale: 'colour', field: 'series' },
              },
            },
          },
          {
            type: 'symbol',
            from: { data: 'series' },
            encode: { enter: { ...at, fill: { scale: 'colour', field: 'series' }, size: { value: 40 } } },
          },
        ],
      },
    ],
  };
}

async function render(spec: Spec): Promise<string> {
  // Loaded when it is needed: no other command draws.
  const { parse, View } = await import('vega');
  const view = new View(parse(spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}

function frame(title: string, width: number, height: number): Spec {
  return {
    width,
    height,
    padding: 12,
    background: 'white',
    title: { text: title, anchor: 'start', font: FONT, fontSize: 13 },
    config: { axis: { labelFont: FONT, titleFont: FONT }, legend: { labelFont: FONT } },
  };
}

function shareScale(name: string, range: 'width' | 'height', zero = true): Scale {
  return { name, type: 'linear', domain: { data: 'points', fields: ['low', 'high'] }, range, nice: true, zero };
}

function colours(series: readonly string[]): Scale {
  return { name: 'colour', type: 'ordinal', domain: [...series], range: COLOURS };
}

function whisker(scale: string, field: string): Mark {
  return {
    type: 'rule',
    from: { data: 'group' },
    encode: {
      enter: {
        y: { scale, field, band: 0.5 },
        x: { scale: 'x', field: 'low' },
        x2: { scale: 'x', field: 'high' },
        stroke: { value: '#222' },
      },
    },
  };
}
