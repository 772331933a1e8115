/** A model with its names, kept open: images are labelled as they come. */
import { createImageEncoder } from '../clip/encoders.ts';
import { S3aError } from '../errors.ts';
import { createPool } from '../images/pool.ts';
import { openChooser } from './chooser.ts';
import type { RunHooks } from './events.ts';
import type { PredictOptions } from './predict.ts';
import { createScorer, type ScoredName } from './scorer.ts';

export interface ClassifierOptions extends Omit<PredictOptions, 'recursive'> {
  /** The most images that are computed at once, out of those that wait; default 1, which is the quickest for one on a processor. */
  embedBatch?: number;
  /** Threads that decode images; default 1. */
  workers?: number;
}

/** What an image is. */
export interface Classification {
  label: string;
  /** Probability of the label among the names that there were to choose from, 0–1. */
  confidence: number;
  /** The best names, best first. */
  top: ScoredName[];
}

export interface Classifier {
  /** The names to choose from. */
  readonly names: readonly string[];
  /**
   * Labels one image. Any number may be asked for at once.
   * @param image the path of an image file, or the bytes of one
   * @throws S3aError BAD_IMAGE when it cannot be read, DISPOSED after `dispose`
   */
  classify(image: string | Uint8Array): Promise<Classification>;
  /** Ends the threads and frees the model; what was asked for and is not computed yet is rejected. */
  dispose(): Promise<void>;
}

interface Waiting {
  readonly pixels: Float32Array;
  resolve(result: Classification): void;
  reject(error: unknown): void;
}

/**
 * Opens a run or a model to label images one by one, as a server does. One that is forgotten does not keep the process alive.
 * @param place a run folder, or a model as `loadClip` takes it
 * @throws S3aError PREDICT when there are no names to choose from, and whatever is wrong with the model or the vocabulary
 * @example
 * const classifier = await openClassifier('runs/photos');
 * const { label, confidence } = await classifier.classify(await readFile('cat.jpg'));
 */
export async function openClassifier(
  place: string,
  { top = 5, embedBatch = 1, workers = 1, maxPixels, ...options }: ClassifierOptions = {},
  hooks: RunHooks = {},
): Promise<Classifier> {
  for (const [name, value] of Object.entries({ top, embedBatch })) {
    if (!(Number.isInteger(value) && value >= 1))
      throw new S3aError('PREDICT', `${name} is ${value}`, 'Give 1 or more.');
  }
  const chooser = await openChooser(place, options, hooks);
  const { clip, names } = chooser;
  const { device, threads } = options;
  const open: { dispose(): Promise<void> }[] = [clip];
  const opened = async <T extends { dispose(): Promise<void> }>(making: Promise<T>): Promise<T> => {
    const made = await making.catch(async (error: unknown) => {
      for (const one of open) await one.dispose();
      throw error;
    });
    open.push(made);
    return made;
  };
  const encoder = await opened(createImageEncoder(clip.checkpoint, { batch: embedBatch, device, threads }));
  const scorer = await opened(createScorer(chooser, top, embedBatch, { device, threads }));
  // Names are embedded by now.
  await clip.release('texts');
  const pool = createPool(workers, { ...clip.preprocess, maxPixels });
  const waiting: Waiting[] = [];
  let working: Promise<void> | undefined;
  let disposal: Promise<void> | undefined;

  const pixelsOf = async (image: string | Uint8Array): Promise<Float32Array> => {
    // A view of a larger buffer would take all of that along to the thread.
    const source = typeof image === 'string' ? image : new Uint8Array(image);
    const { views, failed } = await pool.run({
      ...{ items: [{ index: 0, source }], views: ['evaluation'], seed: 0, epoch: 0, keep: false },
    });
    if (failed.length > 0) throw new S3aError('BAD_IMAGE', failed[0].reason);
    return views.evaluation;
  };

  const work = async (): Promise<void> => {
    for (let jobs = waiting.splice(0, embedBatch); jobs.length > 0; jobs = waiting.splice(0, embedBatch)) {
      try {
        const pixels = new Float32Array(jobs.length * jobs[0].pixels.length);
        for (const [i, job] of jobs.entries()) pixels.set(job.pixels, i * job.pixels.length);
        const rows = await scorer.best(await encoder.embed(pixels));
        for (const [i, top] of rows.entries()) {
          jobs[i].resolve({ label: top[0].name, confidence: top[0].confidence, top });
        }
      } catch (error) {
        for (const job of jobs) job.reject(error);
      }
    }
    working = undefined;
  };

  const end = async (): Promise<void> => {
    for (const { reject } of waiting.splice(0)) reject(disposed());
    await pool.dispose();
    await working;
    for (const one of open) await one.dispose();
  };

  return {
    names,
    async classify(image) {
      if (disposal) throw disposed();
      const pixels = await pixelsOf(image);
      if (disposal) throw disposed();
      return new Promise((resolve, reject) => {
        waiting.push({ pixels, resolve, reject });
        working ??= work();
      });
    },
    dispose: () => {
      disposal ??= end();
      return disposal;
    },
  };
}

function disposed(): S3aError {
  return new S3aError('DISPOSED', 'the classifier has been disposed');
}
