/** Predictions against true labels that nobody has seen before. */
import { S3aError } from '../errors.ts';
import { hashJson } from '../io/hash.ts';
import { type EvaluateOptions, evaluate, type Predictions, type Report } from './evaluate.ts';
import { openLabels, type SealedLabels, type TrueClass } from './open-labels.ts';
import type { SemanticScorer } from './semantic.ts';

/** Predictions for files by their neutral names, in any order. */
export interface FilePredictions extends Predictions {
  files: readonly string[];
}

export interface SealedReport extends Report {
  /** Images of the split without a prediction, for example because they could not be read; they are in no figure. */
  unpredicted: number;
}

export interface SealedOptions extends EvaluateOptions {
  /** How a class is called among the names that were predicted; default its own name. */
  nameOf?: (trueClass: TrueClass) => string;
}

/**
 * Opens the labels and compares: what `evaluate` does, by file name.
 * @throws S3aError LABELS for a prediction of a file that the split does not have or has twice, and what `evaluate` throws
 */
export function evaluateSealed(
  predictions: FilePredictions,
  sealed: SealedLabels,
  { nameOf, ...options }: SealedOptions = {},
): SealedReport {
  const { truth, unpredicted } = truthFor(predictions.files, sealed, nameOf);
  return { ...evaluate(predictions, truth, options), unpredicted };
}

/**
 * Opens the labels and gives each prediction its semantic score, for `FilePredictions.semantic`.
 * @throws as `evaluateSealed` and `SemanticScorer.scores`
 */
export async function semanticSealed(
  { files, names }: Pick<FilePredictions, 'files' | 'names'>,
  sealed: SealedLabels,
  scorer: SemanticScorer,
  { nameOf }: Pick<SealedOptions, 'nameOf'> = {},
): Promise<Float64Array> {
  return scorer.scores(names, truthFor(files, sealed, nameOf).truth);
}

function truthFor(
  predicted: readonly string[],
  sealed: SealedLabels,
  nameOf: (trueClass: TrueClass) => string = ({ name }) => name,
): { truth: string[]; unpredicted: number } {
  const { files, labels, classes } = openLabels(sealed);
  const rows = new Map(files.map((file, i) => [file, i]));
  const names = classes.map(nameOf);
  const truth = predicted.map(file => {
    const row = rows.get(file);
    if (row === undefined) throw new S3aError('LABELS', `${file} is no image of this split, or is predicted twice`);
    rows.delete(file);
    return names[labels[row]];
  });
  return { truth, unpredicted: rows.size };
}

/** The names of the true classes that have images in the split, each once, sorted: the vocabulary of the bound. */
export function trueNames(sealed: SealedLabels, { nameOf = ({ name }) => name }: SealedOptions = {}): string[] {
  const { labels, classes } = openLabels(sealed);
  return [...new Set(Array.from(new Set(Array.from(labels)), label => nameOf(classes[label])))].sort();
}

/** What the owners of a data set call an image, for reports that are made after the comparison. */
export function originOf(sealed: SealedLabels, file: string): string | undefined {
  const { files, origins } = openLabels(sealed);
  const row = files.indexOf(file);
  return row < 0 ? undefined : origins(row);
}

/** Says whether labels are still those that figures were made of: a hash of the images' names with their classes. */
export function hashOfLabels(sealed: SealedLabels): string {
  const { files, labels, classes } = openLabels(sealed);
  return hashJson({ files: hashJson(files), labels: Array.from(labels), classes });
}
