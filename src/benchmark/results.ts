/** results.json: every figure with all that is needed to repeat it. */
import type { Config } from '../config/schema.ts';
import { type Spread, spreadOverSeeds } from '../evaluate/bootstrap.ts';
import type { ProtocolData } from '../protocols/load.ts';
import { versions } from '../run/manifest.ts';
import type { Vocabulary } from '../vocab/vocabulary.ts';
import type { CellResult } from './cells.ts';
import type { BenchOrder } from './folder.ts';
import type { Method } from './method.ts';
import type { Cell, Plan } from './plan.ts';
import type { Figures, Range } from './score.ts';

/** A cell that is there. */
export interface Computed {
  cell: Cell;
  result: CellResult;
  /** Of the model, and of the lists of images with their contents. */
  hashes: { model: string; train: string; test?: string };
}

/** The figures that are averaged over seeds, and where they stand. */
const MEASURES = {
  top1: (f: Figures) => f.accuracy[1],
  top3: (f: Figures) => f.accuracy[3],
  top5: (f: Figures) => f.accuracy[5],
  top10: (f: Figures) => f.accuracy[10],
  classAccuracy: (f: Figures) => f.classAccuracy,
  macroF1: (f: Figures) => f.macroF1,
  clustering: (f: Figures) => f.clustering.accuracy,
  nmi: (f: Figures) => f.clustering.nmi,
  ari: (f: Figures) => f.clustering.ari,
  purity: (f: Figures) => f.clustering.meanPurity,
  clusters: (f: Figures) => f.clusters?.accuracy,
  nameRecall: (f: Figures) => f.names.recall,
  nameIou: (f: Figures) => f.names.iou,
  semantic: (f: Figures) => f.semantic,
} as const satisfies Record<string, (figures: Figures) => number | undefined>;

export type Measure = keyof typeof MEASURES;
/** Each figure over the seeds; those that a method has not are left out. */
export type Summary = Partial<Record<Measure, Spread>>;

/** One line over all its seeds. */
export interface Line {
  method: string;
  part: string;
  title: string;
  step?: boolean;
  seeds: number[];
  train: Summary;
  test?: Summary;
  /** By resampling the images of the first seed. */
  interval: { train: Range; test?: Range };
}

/** A variant of an ablation with its lines. */
export interface VariantResult {
  name: string;
  value?: number;
  settings: Record<string, unknown>;
  images?: number;
  names?: number;
  lines: Line[];
}

export interface BenchResults {
  format: 1;
  protocol: {
    name: string;
    title: string;
    k: number;
    classes: number;
    outOfVocabulary: boolean;
    drawn: boolean;
    images: { train: number; test: number };
  };
  /** Settings in full; methods and variants change a few. */
  config: Config;
  seeds: number[];
  methods: { name: string; title: string; about: string; settings: Record<string, unknown> }[];
  versions: Record<string, string>;
  vocabulary: { id: string; names: number; hash: string };
  /** The sentence model of the semantic scores. */
  semanticModel?: string;
  /** Of the model's files, and of the images of each seed. */
  hashes: { model: string; images: Record<string, { train: string; test?: string }> };
  /** Cells that were to be computed, and those that were. */
  cells: { wanted: number; done: number };
  table: Line[];
  ablations: {
    name: string;
    title: string;
    about: string;
    axis?: { title: string; scale: string };
    variants: VariantResult[];
  }[];
  /** Every cell as it was computed. */
  runs: (CellResult & { variant: string; ablation?: string })[];
  failures: { seed: number; variant: string; ablation?: string; reason: string }[];
  /** Computing time of the cells in all, and of this process. */
  seconds: { cells: number; here: number };
}

interface Parts {
  protocol: ProtocolData;
  plan: Plan;
  order: BenchOrder;
  base: Config;
  vocabulary: Vocabulary;
  computed: readonly Computed[];
  failures: BenchResults['failures'];
  began: number;
}

/** Everything that is known so far. */
export function resultsOf({ protocol, plan, order, base, vocabulary, computed, failures, began }: Parts): BenchResults {
  const { name, title, k, outOfVocabulary, drawn, splits } = protocol;
  const ofTable = computed.filter(({ cell }) => cell.ablation === undefined);
  const once = new Map(computed.map(({ result }) => [result.key, result.seconds]));
  return {
    format: 1,
    protocol: {
      ...{ name, title, k, outOfVocabulary, drawn },
      classes: computed[0]?.result.outcomes[0].train.classes ?? 0,
      images: { train: splits.train.images.count, test: splits.test?.images.count ?? 0 },
    },
    config: base,
    seeds: order.seeds ?? [0],
    methods: plan.methods.map(({ name: method, title: shown, about, settings = {} }) => ({
      name: method,
      title: shown,
      about,
      settings,
    })),
    versions: versions(),
    vocabulary: { id: vocabulary.id, names: vocabulary.names.length, hash: vocabulary.hash },
    ...(order.semanticModel !== undefined && { semanticModel: order.semanticModel }),
    hashes: {
      model: computed[0]?.hashes.model ?? '',
      images: Object.fromEntries(ofTable.map(({ cell, hashes: { model: _, ...images } }) => [cell.seed, images])),
    },
    cells: { wanted: plan.cells.length, done: computed.length },
    table: plan.methods.flatMap(method => linesOf(method, ofTable)),
    ablations: plan.ablations.map(({ variants, ...about }) => ({
      ...about,
      variants: variants.flatMap(({ method, name: variant, settings, value, images, names }) => {
        const own = computed.filter(({ cell }) => cell.ablation === about.name && cell.variant.name === variant);
        const given = { ...(value !== undefined && { value }), ...(images && { images }), ...(names && { names }) };
        const lines = linesOf(method, own);
        return lines.length > 0
          ? [{ name: variant, ...given, settings: { ...method.settings, ...settings }, lines }]
          : [];
      }),
    })),
    runs: computed.map(({ cell, result }) => ({
      ...result,
      seed: cell.seed,
      variant: cell.variant.name,
      ...(cell.ablation && { ablation: cell.ablation }),
    })),
    failures,
    seconds: {
      cells: Math.round([...once.values()].reduce((sum, seconds) => sum + seconds, 0)),
      here: Math.round((performance.now() - began) / 1000),
    },
  };
}

/** How a line of a method is called. */
function titleOf({ title }: Pick<Method, 'title'>, part: string): string {
  if (part === '') return title;
  return part === 'discovery' ? `${title}, discovery alone` : `${title}, ${part.replace('_', ' ')}`;
}

/** The lines of a method: each part over the seeds that are there. */
function linesOf(method: Method, computed: readonly Computed[]): Line[] {
  const own = computed.filter(({ cell }) => cell.variant.method.name === method.name);
  const parts = [...new Set(own.flatMap(({ result }) => result.outcomes.map(({ part }) => part)))];
  return parts.map(part => {
    const found = own.flatMap(({ cell, result }) =>
      result.outcomes.filter(outcome => outcome.part === part).map(outcome => ({ seed: cell.seed, outcome })),
    );
    const [{ outcome: one }] = found;
    const unseen = found.flatMap(({ outcome }) => (outcome.test ? [outcome.test] : []));
    return {
      method: method.name,
      part,
      title: titleOf(method, part),
      ...(one.step && { step: true }),
      seeds: found.map(({ seed }) => seed),
      train: summaryOf(found.map(({ outcome }) => outcome.train)),
      ...(unseen.length > 0 && { test: summaryOf(unseen) }),
      interval: { train: one.train.intervals.top1, ...(one.test && { test: one.test.intervals.top1 }) },
    };
  });
}

function summaryOf(figures: readonly Figures[]): Summary {
  const summary: Summary = {};
  for (const [measure, of] of Object.entries(MEASURES) as [Measure, (f: Figures) => number | undefined][]) {
    const values = figures.map(of).filter(value => value !== undefined);
    if (values.length > 0) summary[measure] = spreadOverSeeds(values);
  }
  return summary;
}
