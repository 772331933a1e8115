/** Predictions against true labels that nobody has seen before. */
import { S3aError } from '../errors.ts';
import { evaluate, type Predictions, type Report } from './evaluate.ts';
import { openLabels, type SealedLabels, type TrueClass } from './open-labels.ts';

/** Predictions for files by their neutral names, in any order. */
export interface FilePredictions extends Predictions {
  files: readonly string[];
}

export interface SealedReport extends Report {
  /** Images of the split without a prediction, for example because they could not be read; they are in no figure. */
  unpredicted: number;
}

export interface SealedOptions {
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
  { nameOf = ({ name }) => name }: SealedOptions = {},
): SealedReport {
  const { files, labels, classes } = openLabels(sealed);
  const rows = new Map(files.map((file, i) => [file, i]));
  const names = classes.map(nameOf);
  const truth = predictions.files.map(file => {
    const row = rows.get(file);
    if (row === undefined) throw new S3aError('LABELS', `${file} is no image of this split, or is predicted twice`);
    rows.delete(file);
    return names[labels[row]];
  });
  return { ...evaluate(predictions, truth), unpredicted: rows.size };
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
