/** One report of everything that METHOD §5 measures from names alone; the semantic score is in semantic.ts. */
import { S3aError } from '../errors.ts';
import { normalizeName } from '../vocab/vocabulary.ts';
import { TOP_K, topKFromRanked } from './accuracy.ts';
import { type ClusteringReport, evaluateClustering } from './clustering.ts';
import { compareNames, type NamesReport } from './names.ts';
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
}

export interface Report {
  images: number;
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
  /** Every true class, by name. */
  perClass: ClassReport[];
  /** The most frequent confusions, at most twenty; then by true and predicted name. */
  confusions: { truth: string; predicted: string; images: number }[];
}

/**
 * Compares predictions with the true names, one for each image in the same order; case and spaces do not matter.
 *
 * Throws S3aError SHAPE when lengths differ, EVALUATE when there are no images.
 */
export function evaluate(predictions: Predictions, truth: readonly string[]): Report {
  const names = predictions.names.map(normalizeName);
  const trueNames = truth.map(normalizeName);
  if (names.length !== truth.length) {
    throw new S3aError('SHAPE', `evaluate: ${names.length} predicted names for ${truth.length} true names`);
  }
  const perClass = classReports(names, trueNames);
  const ranked = predictions.ranked;
  return {
    images: truth.length,
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
    perClass: perClass.map(report => ({ ...report, predicted: report.predicted.slice(0, 5) })),
    confusions: perClass
      .flatMap(({ truth: own, predicted }) =>
        predicted.map(({ name, images }) => ({ truth: own, predicted: name, images })),
      )
      .filter(({ truth: own, predicted }) => own !== predicted)
      .sort((a, b) => b.images - a.images || compare(a.truth, b.truth) || compare(a.predicted, b.predicted))
      .slice(0, 20),
  };
}

function meanOver(classes: readonly ClassReport[], figure: (report: ClassReport) => number): number {
  return classes.reduce((sum, report) => sum + figure(report), 0) / classes.length;
}
