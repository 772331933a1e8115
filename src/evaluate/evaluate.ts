/** One report of everything that METHOD §5 measures. */
import { S3aError } from '../errors.ts';
import { TOP_K, topKFromRanked } from './accuracy.ts';
import { type BootstrapOptions, bootstrapMean, type Interval } from './bootstrap.ts';
import { type ClusteringReport, evaluateClustering } from './clustering.ts';
import { type ReportIntervals, reportIntervals } from './intervals.ts';
import { compareNames, type NamesReport, nameNormalizer } from './names.ts';
import { type ClassReport, classReports, compare } from './per-class.ts';

export type { ClassReport } from './per-class.ts';

/** What was predicted, image by image. */
export interface Predictions {
  /** The name given to each image; an empty text is no name, and never right. */
  names: readonly string[];
  /** Each image's best names in order, for top-k with k > 1; the first is its name. */
  ranked?: readonly (readonly string[])[];
  /** Each image's cluster, where it is another grouping than that by names. */
  clusters?: ArrayLike<number>;
  /** Each image's semantic score, as `SemanticScorer.scores` gives it. */
  semantic?: ArrayLike<number>;
}

export interface EvaluateOptions {
  /** Adds the intervals of the figures that are means over images; `samples` resamples, default 1,000 of level 0.95. */
  readonly bootstrap?: { readonly samples?: number; readonly seed?: number; readonly level?: number };
}

export interface Report {
  images: number;
  /** Images that were given a name. */
  named: number;
  classes: number;
  /** Top-k accuracy by k, 0–1: 1, and the k of METHOD §5 that the ranked names are long enough for. */
  accuracy: Record<number, number>;
  /** Top-1 accuracy of each true class, averaged over the classes: small classes count as much as large ones. */
  classAccuracy: number;
  /** F1 of each true class, averaged over the classes. */
  macroF1: number;
  /** The predicted names taken as groups. */
  clustering: ClusteringReport;
  /** The clusters themselves, if they were given. */
  clusters?: ClusteringReport;
  names: NamesReport;
  /** The mean of the images' semantic scores, if they were given. */
  semantic?: number;
  /** How sure the figures are, if that was asked for. */
  intervals?: ReportIntervals & { semantic?: Interval };
  /** Every true class, by name. */
  perClass: ClassReport[];
  /** The most frequent confusions, at most twenty; then by true and predicted name. */
  confusions: { truth: string; predicted: string; images: number }[];
}

/**
 * Compares predictions with the true names, one for each image in the same order; case and spaces do not matter. Figures are
 * shares from 0 to 1.
 *
 * Throws S3aError SHAPE when lengths differ, EVALUATE when there are no images, VALUE for options that cannot be meant.
 */
export function evaluate(
  predictions: Predictions,
  truth: readonly string[],
  { bootstrap }: EvaluateOptions = {},
): Report {
  const normalized = nameNormalizer();
  const names = predictions.names.map(normalized);
  const trueNames = truth.map(normalized);
  const { semantic } = predictions;
  if (names.length !== truth.length) {
    throw new S3aError('SHAPE', `evaluate: ${names.length} predicted names for ${truth.length} true names`);
  }
  if (semantic && semantic.length !== truth.length) {
    throw new S3aError('SHAPE', `evaluate: ${semantic.length} semantic scores for ${truth.length} true names`);
  }
  const perClass = classReports(names, trueNames);
  const ranked = predictions.ranked;
  const report = {
    images: truth.length,
    named: names.reduce((count, name) => count + (name === '' ? 0 : 1), 0),
    classes: perClass.length,
    accuracy: {
      ...topKFromRanked(
        names.map(name => [name]),
        trueNames,
        [1],
      ),
      ...(ranked && topKFromRanked(ranked, trueNames, TOP_K.slice(1))),
    },
    classAccuracy: meanOver(perClass, ({ recall }) => recall),
    macroF1: meanOver(perClass, ({ f1 }) => f1),
    clustering: evaluateClustering(names, trueNames),
    ...(predictions.clusters && { clusters: evaluateClustering(predictions.clusters, trueNames) }),
    names: compareNames(
      names.filter(name => name !== ''),
      trueNames,
    ),
    ...(semantic && { semantic: Array.from(semantic).reduce((sum, score) => sum + score, 0) / truth.length }),
    perClass: perClass.map(report => ({ ...report, predicted: report.predicted.slice(0, 5) })),
    confusions: perClass
      .flatMap(({ truth: own, predicted }) =>
        predicted.map(({ name, images }) => ({ truth: own, predicted: name, images })),
      )
      .filter(({ truth: own, predicted }) => own !== predicted)
      .sort((a, b) => b.images - a.images || compare(a.truth, b.truth) || compare(a.predicted, b.predicted))
      .slice(0, 20),
  };
  if (!bootstrap) return report;
  const options = resampling(bootstrap);
  return {
    ...report,
    intervals: {
      ...reportIntervals(report, options),
      ...(semantic && { semantic: bootstrapMean(semantic, options) }),
    },
  };
}

/** The options of intervals as `bootstrap` asks for them. */
export function resampling({ samples = 1000, ...rest }: NonNullable<EvaluateOptions['bootstrap']>): BootstrapOptions {
  return { resamples: samples, ...rest };
}

function meanOver(classes: readonly ClassReport[], figure: (report: ClassReport) => number): number {
  return classes.reduce((sum, report) => sum + figure(report), 0) / classes.length;
}
