/** True labels under seal, and the one way to open them: only this room imports this file (test/no-leak.test.ts). */
import { inspect } from 'node:util';
import { S3aError } from '../errors.ts';

/** A class of a data set. */
export interface TrueClass {
  name: string;
  /** WordNet 3.0 id, where the set has one. */
  synset?: string;
}

/** What is known about a split of a data set and must not be known before its images are labelled. */
export interface Truth {
  /** The images as everybody sees them, by neutral names. */
  files: readonly string[];
  classes: readonly TrueClass[];
  /** For each of `files` its place in `classes`. */
  labels: ArrayLike<number>;
  /** For each of `files` what its owners call it, such as `n02085620-Chihuahua/n02085620_7.jpg`. */
  origins(index: number): string;
}

let open: (sealed: SealedLabels) => Truth;

/** True labels that show nothing but how many there are: printed, made JSON of, compared or copied, they stay closed. */
export class SealedLabels {
  readonly #truth: Truth;
  /** Number of images. */
  readonly images: number;

  constructor(truth: Truth) {
    this.#truth = truth;
    this.images = truth.files.length;
  }

  toJSON(): string {
    return this.toString();
  }

  toString(): string {
    return `sealed labels of ${this.images} images`;
  }

  [inspect.custom](): string {
    return this.toString();
  }

  static {
    open = sealed => {
      if (!(#truth in sealed)) throw new S3aError('LABELS', 'these are no sealed labels');
      return sealed.#truth;
    };
  }
}

/**
 * Seals the true labels of a split.
 * @throws S3aError LABELS when there is not one label for each file, or one is no class
 */
export function sealLabels(truth: Truth): SealedLabels {
  const { files, classes, labels } = truth;
  if (labels.length !== files.length) {
    throw new S3aError('LABELS', `${labels.length} labels for ${files.length} images`);
  }
  for (let i = 0; i < labels.length; i++) {
    if (!(Number.isInteger(labels[i]) && labels[i] >= 0 && labels[i] < classes.length)) {
      throw new S3aError('LABELS', `image ${i} has the label ${labels[i]}, but there are ${classes.length} classes`);
    }
  }
  return new SealedLabels(truth);
}

/** Opens true labels; for the evaluator alone. */
export function openLabels(sealed: SealedLabels): Truth {
  return open(sealed);
}
