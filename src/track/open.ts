/** The trackers of a run, by name. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createMlflowTracker, type MlflowOptions } from './mlflow.ts';
import { mlflowPlace } from './mlflow-api.ts';
import { createTensorboardTracker } from './tensorboard.ts';
import { allOf, type Tracker } from './tracker.ts';

/** What `--track` takes. */
export const TRACKERS = ['tensorboard', 'mlflow'] as const;
export type TrackerName = (typeof TRACKERS)[number];

export interface TrackingOptions extends MlflowOptions {
  /** The MLflow server; default MLFLOW_TRACKING_URI. */
  readonly mlflowUri?: string;
}

const TENSORBOARD = 'tensorboard';
const MLFLOW = 'mlflow.json';

/**
 * Opens trackers for the run in `folder`: event files in `tensorboard/`, and the id of a run on an MLflow server in `mlflow.json`.
 *
 * Throws S3aError TRACK for an address of MLflow that cannot be meant.
 */
export function openTrackers(
  names: readonly TrackerName[],
  folder: string,
  { mlflowUri, ...options }: TrackingOptions = {},
): Tracker {
  const open: Readonly<Record<TrackerName, () => Tracker>> = {
    tensorboard: () => createTensorboardTracker(join(folder, TENSORBOARD), options),
    mlflow: () => createMlflowTracker(mlflowPlace(mlflowUri, options.environment), join(folder, MLFLOW), options),
  };
  return allOf([...new Set(names)].map(name => open[name]()));
}

/** Forgets what was tracked in `folder`, for a training that begins anew. */
export async function forgetTracked(folder: string): Promise<void> {
  await rm(join(folder, TENSORBOARD), { recursive: true, force: true });
  await rm(join(folder, MLFLOW), { force: true });
}
