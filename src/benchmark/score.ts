/** Where the true labels are opened: predictions become figures. No other file of this room imports the evaluator of labels. */
import {
  evaluateSealed,
  hashOfLabels,
  type SealedReport,
  semanticSealed,
  trueNames,
} from '../evaluate/evaluate-sealed.ts';
import { reportIntervals } from '../evaluate/intervals.ts';
import type { SealedLabels, TrueClass } from '../evaluate/sealed-labels.ts';
import type { SemanticScorer } from '../evaluate/semantic.ts';
import { normalizeName, type Vocabulary } from '../vocab/vocabulary.ts';
import { firstLemma } from '../vocab/wordnet.ts';
import type { Predicted } from './method.ts';

/** An interval of a share by resampling the images. */
export interface Range {
  low: number;
  high: number;
}

/** What is kept of a comparison; shares are 0–1. */
export interface Figures
  extends Pick<SealedReport, 'images' | 'classes' | 'unpredicted' | 'classAccuracy' | 'macroF1'> {
  /** Top-k over the names the method chooses from, by k. */
  accuracy: Record<number, number>;
  /** The names taken as groups. */
  clustering: SealedReport['clustering'];
  /** The clusters, where the method has some. */
  clusters?: SealedReport['clusters'];
  names: Omit<SealedReport['names'], 'found' | 'extra'> & { found: number; given: number };
  /** Mean cosine of the sentence embeddings of predicted and true names, where a sentence model was given. */
  semantic?: number;
  intervals: { top1: Range; classAccuracy: Range; clustering: Range };
}

/** How a vocabulary calls a class: by its WordNet id, by its own name, or by the first word of the id. */
export function nameOfClass({ names, entries }: Vocabulary): (trueClass: TrueClass) => string {
  const known = new Set(names);
  const byId = new Map(entries.flatMap(({ name, synsets }) => synsets.flatMap(({ id }) => (id ? [[id, name]] : []))));
  return ({ name, synset }) => {
    const own = normalizeName(name);
    if (synset === undefined) return own;
    const first = firstLemma(synset);
    return byId.get(synset) ?? (known.has(own) || first === undefined ? own : normalizeName(first));
  };
}

/**
 * Compares predictions with the labels of a split.
 * @param scorer gives the semantic score
 * @throws S3aError LABELS for an image that the split does not have, and what the scorer throws
 */
export async function figuresOf(
  predicted: Predicted,
  sealed: SealedLabels,
  vocabulary: Vocabulary,
  scorer?: SemanticScorer,
): Promise<Figures> {
  const nameOf = nameOfClass(vocabulary);
  const semantic = scorer && (await semanticSealed(predicted, sealed, scorer, { nameOf }));
  const report = evaluateSealed({ ...predicted, ...(semantic && { semantic }) }, sealed, { nameOf });
  const { images, classes, unpredicted, accuracy, classAccuracy, macroF1, clustering, clusters } = report;
  const { found, extra, ...names } = report.names;
  const intervals = reportIntervals(report, { resamples: 2000 });
  const range = ({ low, high }: Range): Range => ({ low, high });
  return {
    ...{ images, classes, unpredicted, accuracy, classAccuracy, macroF1, clustering },
    ...(clusters && { clusters }),
    ...(report.semantic !== undefined && { semantic: report.semantic }),
    names: { ...names, found: found.length, given: found.length + extra.length },
    intervals: {
      top1: range(intervals.accuracy[1]),
      classAccuracy: range(intervals.classAccuracy),
      clustering: range(intervals.clustering),
    },
  };
}

/** The names of the true classes, for the bound and for vocabularies that have to hold them. */
export function namesOfClasses(sealed: SealedLabels, vocabulary: Vocabulary): string[] {
  return trueNames(sealed, { nameOf: nameOfClass(vocabulary) });
}

export { hashOfLabels };
