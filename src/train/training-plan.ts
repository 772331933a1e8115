/** What a training is before anything of it is computed: its settings, its steps, what of the tower it changes, and its key. */
import { chooseDevice, type Provider, type Shape } from '../engine/index.ts';
import { SLOW_HALF } from './precision.ts';
import { planSteps, type StepPlan } from './schedule.ts';
import {
  checkTraining,
  METHOD_SETTINGS,
  type MethodSettings,
  type TrainData,
  type TrainSettings,
  trainingKey,
  withDefaults,
} from './settings.ts';
import { trainedShapes } from './step.ts';
import { type TunePlan, tunePlan } from './tune.ts';
import type { HeldWeights } from './weights.ts';

export interface TrainingPlan {
  readonly device: Provider;
  readonly settings: MethodSettings;
  readonly tuning: TunePlan;
  readonly steps: StepPlan;
  /** Runs of the graph that make a step. */
  readonly runs: number;
  /** Shapes of all that is trained, by state name. */
  readonly shapes: Record<string, Shape>;
  /** Hash of all that the result depends on. */
  readonly key: string;
  /** Sentences for the reader. */
  readonly notes: readonly string[];
}

/**
 * Chooses the device and checks data and settings.
 * @throws S3aError DEVICE for a device that is not there; SHAPE, WEIGHTS or VALUE for data and settings that do not fit; TUNE
 */
export async function planTraining(data: TrainData, options: TrainSettings, held: HeldWeights): Promise<TrainingPlan> {
  const { device } = await chooseDevice(options.device ?? 'cpu');
  const weights = await held.read();
  const settings = withDefaults(METHOD_SETTINGS, options);
  checkTraining(data, weights, settings);
  const tuning = tunePlan(data.config, options);
  const steps = planSteps({ images: data.files.length, microBatch: options.microBatch, ...settings });
  return {
    ...{ device, settings, tuning, steps, runs: steps.batch / steps.micro },
    shapes: trainedShapes(data.config, tuning, options.precision),
    key: trainingKey(data, weights, settings, options, tuning),
    notes: [
      ...(steps.note === undefined ? [] : [steps.note]),
      ...(options.precision === 'amp' && device === 'cpu' ? [SLOW_HALF] : []),
    ],
  };
}
