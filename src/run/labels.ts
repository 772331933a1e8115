/** The labels of a run, as a program reads them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { readJsonl } from '../io/jsonl.ts';

/** What a run says of an image: a row of its labels.jsonl (docs/run-folder.md). Steps that did not run have no column. */
export interface ImageLabel {
  /** Relative to the folder that was given, or to the nearest one that holds all images. */
  file_name: string;
  /** The name, or `unknown`. */
  label: string;
  /** The label's id in the vocabulary, where it has one. */
  synset: string | null;
  /** Estimated probability that the label is right, 0–1. */
  confidence: number;
  /** The label's probability among all names, by this image alone, less that of the best other name. */
  margin: number;
  /** The image's own best names. */
  top_5: { name: string; probability: number }[];
  /** In the first step, from 0. */
  cluster: number;
  /** The nearest name of the whole vocabulary, before anything else. From here on: what each step says, null for no name. */
  zero_shot: string | null;
  structural: string | null;
  vote?: string | null;
  smoothed?: string | null;
  student?: string | null;
  teacher?: string | null;
  renewed?: string | null;
}

/**
 * The labels of all images of a run, in the order of its other files.
 * @param folder a run that `fit` or `discover` finished
 * @throws S3aError RUN when it has no labels yet, or is no run
 * @example
 * const { folder } = await discover({ images: 'photos', out: 'runs/photos' });
 * const unsure = (await readLabels(folder)).filter(({ confidence }) => confidence < 0.5);
 */
export async function readLabels(folder: string): Promise<ImageLabel[]> {
  const path = join(folder, 'labels.jsonl');
  if (!existsSync(path)) {
    throw new S3aError(
      'RUN',
      `there are no labels in ${folder}`,
      'Finish the run with fit or discover, and resume set.',
    );
  }
  return (await readJsonl(path)) as ImageLabel[];
}
