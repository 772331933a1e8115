/**
 * MUST, masked unsupervised self-training, from beginning to end: a baseline beside S³A on the same engine, loader and vocabulary
 * (Li, Savarese & Hoi 2022, arXiv 2206.02967).
 *
 * What is done is what the published code does (github.com/salesforce/MUST, commit 1e0f84e: model.py, clip/model.py,
 * build_dataset.py, engine_self_training.py, train_configs.json):
 * - The teacher, an exponential moving average that starts as the student, labels the weak view; labels above a fixed
 *   threshold count. The student sees the strong view (scale 0.3 … 1, RandAugment m9-mstd0.5-inc1), 30 % of it masked.
 * - Loss = cross-entropy + fairness + reconstruction + 0.2 · alignment (see losses.ts).
 * - The classifier starts as the text prototypes and is trained with the tower; its rows are not normalised again.
 * - AdamW, decay 0.05 (none on 1-D weights), layer-wise decay 0.65, cosine from 2e-5 · batch/256 to 1e-6 · batch/256.
 * - No gradient is clipped, and each epoch drops its last partial batch.
 *
 * The published code keeps the checkpoint with the best accuracy on labelled images; here the last counts.
 */
import { join } from 'node:path';
import { compile, type Session } from '../../engine/index.ts';
import type { Failure } from '../../images/batch.ts';
import { createLoader, type Loader } from '../../images/loader.ts';
import { readStates } from '../checkpoint.ts';
import { type StepClock, startClock } from '../clock.ts';
import { type MetricsFile, openMetrics } from '../metrics.ts';
import { checkLoss } from '../precision.ts';
import { type Resources, withResources } from '../resources.ts';
import { imagesLeft, ratesAt } from '../schedule.ts';
import { createKeeper, type Keeper, type TakenUp, takeUp } from '../standing.ts';
import { mustFeeds } from './feeds.ts';
import { type MustMetrics, type MustProgress, mustLine } from './metrics.ts';
import { type MustPlan, planMust } from './plan.ts';
import type { MustData, MustSettings } from './settings.ts';
import { type MustNetworks, networkNames, networksOf, startStates } from './states.ts';
import { mustProgram } from './step.ts';

export type { MustMetrics, MustProgress } from './metrics.ts';

export interface MustPlace {
  /** Where `metrics.jsonl` and `checkpoints/` are; a training that was begun there goes on. */
  folder: string;
  /** Called after each step. */
  report?: (progress: MustProgress) => void;
  /** Ends the training after the step under way, with a checkpoint. */
  signal?: AbortSignal;
}

export interface MustResult extends MustNetworks {
  /** Steps of the whole training. */
  readonly steps: number;
  /** Images that could not be read in this process, each once. */
  readonly failed: readonly Failure[];
}

/**
 * Trains the image tower with MUST on unlabelled images.
 *
 * At a fixed number of threads a training that was killed and called again ends in the same bytes as one that was not.
 * @throws S3aError MODEL for a tower that has no patches to mask; SHAPE, WEIGHTS or VALUE for data and settings that do not
 * fit; CHECKPOINT when `folder` holds another training; ABORTED after `signal`; DIVERGED when the loss is no number any
 * more; WRITE
 */
export async function trainMust(data: MustData, options: MustSettings, place: MustPlace): Promise<MustResult> {
  const plan = planMust(data, options, join(place.folder, 'checkpoints'));
  const note = (message: string): void => place.report?.({ kind: 'note', message });
  if (plan.steps.note !== undefined) note(plan.steps.note);
  // MUST has no structural labels.
  const taken = await takeUp(plan.kept, new Int32Array(0), note);
  const { at } = taken;
  const failed = at.epoch < plan.settings.epochs ? await trainEpochs({ data, options, plan, taken }, place) : [];
  const saved = await readStates(plan.kept.folder, networkNames(plan.states));
  return {
    ...networksOf(saved, data),
    steps: at.step,
    failed: failed.toSorted((a, b) => a.index - b.index),
  };
}

/** A training as it was planned and taken up. */
interface BegunMust {
  readonly data: MustData;
  readonly options: MustSettings;
  readonly plan: MustPlan;
  readonly taken: TakenUp;
}

interface OpenMust extends BegunMust {
  readonly loader: Loader;
  readonly session: Session;
  readonly metrics: MetricsFile<MustMetrics>;
  readonly keeper: Keeper;
  readonly clock: StepClock;
  /** Images that could not be read, by index. */
  readonly failed: Map<number, Failure>;
}

/** The epochs that are left; the images that could not be read. */
function trainEpochs(begun: BegunMust, place: MustPlace): Promise<Failure[]> {
  const { at } = begun.taken;
  const { epochs } = begun.plan.settings;
  return withResources(async opened => {
    const training = await openMust(begun, place.folder, opened);
    while (at.epoch < epochs) {
      await trainEpoch(training, place);
      at.epoch++;
      at.stepInEpoch = 0;
      // The end of an epoch is kept; the last one is the result.
      await training.keeper.save(at);
      if (place.signal?.aborted && at.epoch < epochs) await training.keeper.stop(at);
    }
    return [...training.failed.values()];
  });
}

/** Opens files, threads and the session, which gets the states that it begins with. */
async function openMust(begun: BegunMust, folder: string, opened: Resources): Promise<OpenMust> {
  const { data, options, plan, taken } = begun;
  const { workers, cacheBytes, device, threads } = options;
  const metrics = openMetrics<MustMetrics>(join(folder, 'metrics.jsonl'), taken.metricsBytes);
  opened.add({ dispose: async () => metrics.close() });
  const loader = opened.add(
    createLoader({ root: data.root, files: data.files, workers, cacheBytes, ...data.preprocess }),
  );
  const { settings, states, steps } = plan;
  const graph = mustProgram({ ...settings, ...states, batch: steps.batch, logitScale: data.logitScale });
  const session = opened.add(await compile(graph, { device, threads }));
  await session.setState({
    ...(settings.trainHead ? {} : { head: data.prototypes }),
    ...(taken.isSaved ? taken.takeStates() : startStates(data, settings)),
  });
  return {
    ...{ ...begun, loader, session, metrics },
    keeper: createKeeper(plan.kept, taken, session, metrics),
    clock: startClock(steps, taken.at.step),
    failed: new Map(),
  };
}

/** Makes the steps that an epoch has left. */
async function trainEpoch(training: OpenMust, { report, signal }: MustPlace): Promise<void> {
  const { data, options, plan, loader, session, metrics, keeper, clock, failed } = training;
  const { settings, steps } = plan;
  const { at } = training.taken;
  const { seed, epochs } = settings;
  const indices = imagesLeft(data.files.length, steps, seed, at);
  const views = ['weak', 'strong'] as const;
  clock.begin();
  for await (const batch of loader.batches({ indices, batchSize: steps.batch, views, seed, epoch: at.epoch })) {
    for (const failure of batch.failed) failed.set(failure.index, failure);
    const rates = ratesAt(at.step, settings, steps);
    const outputs = await session.run(mustFeeds(batch, rates, at, plan));
    const timeAt = clock.ended();
    at.step++;
    at.stepInEpoch++;
    checkLoss(Number(outputs.loss[0]), undefined, at.step, settings.learningRate);
    const { imagesPerSecond, secondsLeft } = timeAt(1);
    const line = mustLine(outputs, at, rates, imagesPerSecond);
    const isLast = at.stepInEpoch === steps.stepsPerEpoch;
    if (at.step % (options.logEvery ?? 10) === 0 || isLast) metrics.write(line);
    report?.({ kind: 'step', steps: steps.totalSteps, epochs, secondsLeft, ...line });
    if (signal?.aborted && !isLast) await keeper.stop(at);
  }
}
