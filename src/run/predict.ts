/** Labels for new images, from a run or a model. */
import { stat } from 'node:fs/promises';
import type { ConfigInput } from '../config/schema.ts';
import { messageOf, S3aError } from '../errors.ts';
import { createLoader } from '../images/loader.ts';
import { type ImageList, listImages } from '../images/source.ts';
import { type Chooser, type ChooserOptions, openChooser } from './chooser.ts';
import type { RunHooks } from './events.ts';
import { withoutPath } from './scan.ts';
import { createScorer, type ScoredName, type Scorer } from './scorer.ts';

export interface PredictOptions
  extends ChooserOptions,
    Pick<ConfigInput, 'workers' | 'recursive' | 'maxPixels' | 'embedBatch'> {
  /** Names to give for each image, best first; default 5. */
  top?: number;
}

/** What an image is, or why that cannot be said. */
export interface Prediction {
  /** Relative to the folder that was given, or to the nearest one that holds all images. */
  file_name: string;
  label: string | null;
  /** Probability of the label among the names that were to choose from, 0–1. */
  confidence: number | null;
  top: ScoredName[];
  error: string | null;
}

/**
 * Labels images with the names that a run found, or with a vocabulary. An image that cannot be read is a row with an
 * error and never ends the others. The model is opened for this one call: `openClassifier` keeps it open.
 * @param place a run folder, a model folder, or `demo`
 * @param images folders, image files or .txt lists of them
 * @returns in the order of the file names, what could not be listed at the end
 * @throws S3aError NOT_FOUND or EMPTY when there is no image at all, PREDICT when there are no names to choose from
 * @example
 * const [{ label }] = await predict('runs/photos', 'cat.jpg');
 */
export async function predict(
  place: string,
  images: string | readonly string[],
  options: PredictOptions = {},
  hooks: RunHooks = {},
): Promise<Prediction[]> {
  const { top = 5, embedBatch = 32 } = options;
  if (!Number.isInteger(top) || top < 1) throw new S3aError('PREDICT', `cannot give the best ${top} names of an image`);
  const { list, missing } = await listWhatIsThere(images, options.recursive);
  const chooser = await openChooser(place, options, hooks);
  try {
    const scorer = await createScorer(chooser, top, embedBatch, options);
    try {
      const rows = await label(list, chooser, scorer, embedBatch, options, hooks);
      return [...rows, ...[...list.skipped, ...missing].map(({ file_name, reason }) => failed(file_name, reason))];
    } finally {
      await scorer.dispose();
    }
  } finally {
    await chooser.clip.dispose();
  }
}

async function label(
  { root, files }: ImageList,
  { clip }: Chooser,
  scorer: Scorer,
  batchSize: number,
  { workers = 0, maxPixels }: PredictOptions,
  { onEvent, signal }: RunHooks,
): Promise<Prediction[]> {
  const predictions = new Array<Prediction>(files.length);
  const loader = createLoader({ ...clip.preprocess, root, files, workers, maxPixels });
  let done = 0;
  try {
    for await (const { indices, views, failed: bad } of loader.batches({ batchSize, views: ['evaluation'] })) {
      signal?.throwIfAborted();
      for (const { index, reason } of bad) {
        predictions[index] = failed(files[index], withoutPath(reason, root, files[index]));
      }
      if (indices.length > 0) {
        const rows = await scorer.best(await clip.embedImages(views.evaluation));
        rows.forEach((top, row) => {
          const [{ name: label, confidence }] = top;
          predictions[indices[row]] = { file_name: files[indices[row]], label, confidence, top, error: null };
        });
      }
      done += indices.length + bad.length;
      onEvent?.({ type: 'progress', stage: 'label', done, total: files.length });
    }
  } finally {
    await loader.dispose();
  }
  return predictions;
}

/** The images of the paths that exist; the others with the reason, unless there is nothing else. */
async function listWhatIsThere(
  images: string | readonly string[],
  recursive: boolean | undefined,
): Promise<{ list: ImageList; missing: ImageList['skipped'] }> {
  const given = typeof images === 'string' ? [images] : images;
  const missing: ImageList['skipped'] = [];
  const there: string[] = [];
  for (const path of given) {
    const problem = await stat(path).then(() => undefined, messageOf);
    if (problem === undefined) there.push(path);
    else missing.push({ file_name: path, reason: `cannot be read (${problem})` });
  }
  return { list: await listImages(there.length > 0 ? there : given, { recursive }), missing };
}

function failed(file_name: string, error: string): Prediction {
  return { file_name, label: null, confidence: null, top: [], error };
}
