/** The figures of a training, for the trackers that were asked for. */
import { basename, resolve } from 'node:path';
import { mlflowPlace } from '../track/mlflow-api.ts';
import { openTrackers } from '../track/open.ts';
import { allOf } from '../track/tracker.ts';
import type { TrainProgress } from '../train/loop.ts';
import type { Run } from './store.ts';

export interface Tracking {
  /** Passes the figures of a step on, where metrics.jsonl has a line for it. */
  tell(progress: TrainProgress): void;
  /** Waits for the training and ends the trackers as it ended. */
  during<T>(training: Promise<T>): Promise<T>;
}

/** Opens the trackers of a run; what goes wrong with them is a warning and never ends the training. */
export function trackTraining(run: Run): Tracking {
  const { track, mlflowUri, images: _, ...settings } = run.config;
  const named = openTrackers(track, run.folder, { mlflowUri, onWarning: message => run.warn(message) });
  const tracker = run.hooks.tracker ? allOf([named, run.hooks.tracker]) : named;
  tracker.hparams({ run: basename(resolve(run.folder)), ...settings });
  return {
    tell(progress) {
      if (progress.kind !== 'step' || !progress.logged) return;
      const { step, steps: _, epochs: __, secondsLeft: ___, ...figures } = progress;
      tracker.log(step, numbersOf(figures));
    },
    async during(training) {
      try {
        const result = await training;
        await tracker.close('finished');
        return result;
      } catch (error) {
        await tracker.close(run.hooks.signal?.aborted ? 'stopped' : 'failed');
        throw error;
      }
    },
  };
}

/** Throws S3aError TRACK, before any work, when MLflow is asked for and there is no address that can be meant. */
export function checkTrackers({ config: { track, mlflowUri } }: Run): void {
  if (track.includes('mlflow')) mlflowPlace(mlflowUri);
}

function numbersOf(figures: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
}
