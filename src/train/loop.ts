/** Self-training from beginning to end (METHOD §3): epochs of steps, new structural labels, and going on after a kill. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Failure } from '../images/batch.ts';
import { readStates } from './checkpoint.ts';
import { trainEpoch } from './epoch.ts';
import { type BegunTraining, type OpenTraining, openTraining } from './open.ts';
import type { TrainPlace } from './progress.ts';
import { withResources } from './resources.ts';
import type { TrainData, TrainSettings } from './settings.ts';
import { stopped, takeUp } from './standing.ts';
import { createRenewal, type Renewal } from './structural.ts';
import type { Role } from './tower.ts';
import { planTraining } from './training-plan.ts';
import { holdWeights, trainedNames, tunedWeights } from './weights.ts';

export type { TrainPlace, TrainProgress } from './progress.ts';

export interface TrainResult {
  /** Image-tower weights of a network by transformers' names, read from the last checkpoint. */
  readonly weights: (role: Role) => Promise<Record<string, Float32Array>>;
  /** [N] the structural labels of the last epoch. */
  readonly structural: Int32Array;
  /** Steps of the whole training. */
  readonly steps: number;
  /** Images that could not be read in this process, each once. */
  readonly failed: readonly Failure[];
}

/**
 * Trains the image tower by itself on unlabelled images (METHOD §3).
 *
 * At a fixed number of threads a training that was killed and called again ends in the same bytes as one that was not.
 * @throws S3aError SHAPE, WEIGHTS or VALUE for data and settings that do not fit; CHECKPOINT when `folder` holds another
 * training; TUNE for ways of tuning that do not fit; SPACE when activations do not fit on the disk; ABORTED after `signal`;
 * DIVERGED when the loss is no number any more; WRITE
 */
export async function train(data: TrainData, options: TrainSettings, place: TrainPlace): Promise<TrainResult> {
  const held = holdWeights(data);
  const plan = await planTraining(data, options, held);
  const note = (message: string): void => place.report?.({ kind: 'note', message });
  plan.notes.forEach(note);
  const kept = { folder: join(place.folder, 'checkpoints'), shapes: plan.shapes, key: plan.key };
  const taken = await takeUp(kept, data.structural, note);
  const begun = { data, options, plan, held, kept, taken };
  const failed = taken.at.epoch < plan.settings.epochs ? await trainEpochs(begun, place) : [];
  // Also those of a training that was killed when it had just ended.
  await rm(join(place.folder, 'activations'), { recursive: true, force: true });
  return resultOf(begun, failed);
}

/** The epochs that are left; the images that could not be read. */
function trainEpochs(begun: BegunTraining, place: TrainPlace): Promise<Failure[]> {
  const { epochs, renewFrom } = begun.plan.settings;
  return withResources(async opened => {
    const training = await openTraining(begun, place, opened);
    const { at, keeper } = training;
    let renewal: Renewal | undefined;
    while (at.epoch < epochs) {
      if (at.epoch >= renewFrom && at.stepInEpoch === 0) {
        renewal ??= opened.add(await openRenewal(training));
        at.structural = await renewed(renewal, training, place);
      }
      await trainEpoch(training, place);
      at.epoch++;
      at.stepInEpoch = 0;
      // The end of an epoch is kept; the last one is the result.
      await keeper.save(at);
      if (place.signal?.aborted && at.epoch < epochs) await keeper.stop(at);
    }
    return [...training.failed.values()];
  });
}

function openRenewal({ data, options, plan, activations }: OpenTraining): Promise<Renewal> {
  const { device, settings } = plan;
  return createRenewal({
    ...{ ...options, ...data, device, rounds: settings.voteRounds },
    embedAll: activations?.embedAll,
  });
}

/** New structural labels from what the teacher knows by now. */
async function renewed(
  renewal: Renewal,
  { data, plan: { tuning }, at, session }: OpenTraining,
  { report, signal }: TrainPlace,
): Promise<Int32Array> {
  const states = await session.getState(trainedNames(tuning, 'teacher'));
  return renewal.labels(await tunedWeights(data, tuning, states, 'teacher'), (done, total) => {
    report?.({ kind: 'renew', epoch: at.epoch, done, total });
    if (signal?.aborted) throw stopped(at.step);
  });
}

function resultOf(
  { data, plan: { tuning }, kept, taken: { at } }: BegunTraining,
  failed: readonly Failure[],
): TrainResult {
  return {
    weights: async role => tunedWeights(data, tuning, await readStates(kept.folder, trainedNames(tuning, role)), role),
    structural: at.structural,
    steps: at.step,
    failed: failed.toSorted((a, b) => a.index - b.index),
  };
}
