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
import { visionParameters } from '../../clip/towers/vision.ts';
import { compile, type TensorData } from '../../engine/index.ts';
import { S3aError } from '../../errors.ts';
import type { Batch, Failure } from '../../images/batch.ts';
import { createLoader } from '../../images/loader.ts';
import { random } from '../../random.ts';
import { resumeTraining, saveTraining, type TrainingState } from '../checkpoint.ts';
import { openMetrics } from '../metrics.ts';
import { cosineRate, emaDecay, planSteps } from '../schedule.ts';
import { MOVING_FROM } from './losses.ts';
import { drawMasks, maskGrid } from './masks.ts';
import {
  checkMust,
  MUST_SETTINGS,
  type MustData,
  type MustMethodSettings,
  type MustSettings,
  mustKey,
} from './settings.ts';
import { HEAD, mustProgram, mustShapes } from './step.ts';
import { startMasked } from './tower.ts';

const ROLES = ['student', 'teacher'] as const;

/** A line of metrics.jsonl. */
export interface MustMetrics {
  epoch: number;
  /** Counted from 1 over all epochs. */
  step: number;
  loss: number;
  /** The losses before their weights. */
  instance: number;
  fairness: number;
  reconstruction: number;
  alignment: number;
  /** Share of the images whose teacher is sure enough. */
  maskShare: number;
  gradientNorm: number;
  /** Learning rate of the last layer. */
  lr: number;
  emaDecay: number;
  /** The only value that differs from run to run. */
  imagesPerSecond: number;
}

/** What the reporter hears. */
export type MustProgress =
  | { kind: 'note'; message: string }
  | ({ kind: 'step'; steps: number; epochs: number; secondsLeft: number } & MustMetrics);

export interface MustPlace {
  /** Where `metrics.jsonl` and `checkpoints/` are; a training that was begun there goes on. */
  folder: string;
  /** Called after each step. */
  report?: (progress: MustProgress) => void;
  /** Ends the training after the step under way, with a checkpoint. */
  signal?: AbortSignal;
}

export interface MustResult {
  /** Image-tower weights by transformers' names. */
  readonly student: Record<string, Float32Array>;
  readonly teacher: Record<string, Float32Array>;
  /** [V, D] what the unit embeddings are compared with: the trained classifiers, whose rows are no unit vectors any more. */
  readonly heads: { readonly student: Float32Array; readonly teacher: Float32Array };
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
export async function trainMust(
  data: MustData,
  options: MustSettings,
  { folder, report, signal }: MustPlace,
): Promise<MustResult> {
  const { config, preprocess, root, files, prototypes, logitScale } = data;
  const { device, threads, workers, cacheBytes, logEvery = 10 } = options;
  const given = Object.entries(options).filter(([name, value]) => name in MUST_SETTINGS && value !== undefined);
  const s: MustMethodSettings = { ...MUST_SETTINGS, ...Object.fromEntries(given) };
  const masks = maskGrid(config, s.maskRatio, options.maskPatch);
  checkMust(data, s);
  const plan = planSteps({ images: files.length, ...s });
  if (plan.note !== undefined) report?.({ kind: 'note', message: plan.note });

  // Where the training stands: at its start, or where a checkpoint left it.
  const names = prototypes.length / config.projection_dim;
  const graph = { config, batch: plan.batch, names, logitScale, ...s };
  const shapes = mustShapes(graph);
  const checkpoints = join(folder, 'checkpoints');
  const key = mustKey(data, s, options.maskPatch);
  const saved = await resumeTraining(checkpoints, shapes, key, message => report?.({ kind: 'note', message }));
  const structural = new Int32Array(0);
  const at = saved ?? { epoch: 0, stepInEpoch: 0, step: 0, metricsBytes: 0 };
  let { step } = at;
  let savedStep = saved ? step : -1;
  if (saved && saved.epoch >= s.epochs) return resultOf(data, saved, []);

  const metrics = openMetrics<MustMetrics>(join(folder, 'metrics.jsonl'), at.metricsBytes);
  const opened: { dispose(): Promise<void> }[] = [];
  try {
    const loader = createLoader({ root, files, workers, cacheBytes, ...preprocess });
    opened.push(loader);
    const session = await compile(mustProgram(graph), { device, threads });
    opened.push(session);
    const frozen: Record<string, TensorData> = s.trainHead ? {} : { head: prototypes };
    await session.setState({ ...frozen, ...(saved?.weights ?? startOf(data, s)) });

    const stateOf = async (epoch: number, stepInEpoch: number): Promise<TrainingState> => {
      const weights = (await session.getState(Object.keys(shapes))) as Record<string, Float32Array>;
      return { key, step, epoch, stepInEpoch, metricsBytes: metrics.bytes(), structural, weights };
    };
    const abort = async (epoch: number, stepInEpoch: number): Promise<never> => {
      if (step !== savedStep) await saveTraining(checkpoints, await stateOf(epoch, stepInEpoch), shapes);
      throw new S3aError('ABORTED', `training was stopped after step ${step}`, 'Start it again to go on from there.');
    };

    const failed = new Map<number, Failure>();
    const peak = (s.learningRate * plan.batch) / 256;
    const floor = (s.minLearningRate * plan.batch) / 256;
    const [began, begunAt] = [performance.now(), step];
    let last: TrainingState | undefined;
    for (let epoch = at.epoch; epoch < s.epochs; epoch++) {
      let stepInEpoch = epoch === at.epoch ? at.stepInEpoch : 0;
      const order = random(s.seed, 'epoch', epoch).shuffle(Int32Array.from(files.keys()));
      const indices = order.subarray(stepInEpoch * plan.batch, plan.stepsPerEpoch * plan.batch);
      const views = ['weak', 'strong'] as const;
      let stepBegan = performance.now();
      for await (const batch of loader.batches({ indices, batchSize: plan.batch, views, seed: s.seed, epoch })) {
        for (const failure of batch.failed) failed.set(failure.index, failure);
        const rates = {
          learningRate: cosineRate(step, plan.totalSteps, peak, floor),
          emaDecay: emaDecay(step, s.emaStart, s.emaEnd, s.emaSteps),
        };
        const { threshold, fairnessWeight, reconstructionWeight, alignmentWeight } = s;
        const weighed = { threshold, fairnessWeight, reconstructionWeight, alignmentWeight };
        const begins: Record<string, number> = names >= MOVING_FROM ? { begins: stepInEpoch === 0 ? 1 : 0 } : {};
        const outputs = await session.run({
          ...viewsOf(batch, plan.batch, preprocess.size),
          mask: drawMasks(masks, batch.indices, plan.batch, { seed: s.seed, epoch }),
          ...scalars({ ...rates, ...weighed, ...begins, step: step + 1 }),
        });
        step++;
        stepInEpoch++;

        // What is known about the step, to the reporter and to the file.
        const value = (name: string): number => Number(outputs[name][0]);
        if (!Number.isFinite(value('loss'))) {
          const hint = `Lower the learning rate (it is ${s.learningRate} for 256 images).`;
          throw new S3aError('DIVERGED', `the loss is ${value('loss')} at step ${step}`, hint);
        }
        const now = performance.now();
        const line: MustMetrics = {
          epoch,
          step,
          loss: value('loss'),
          instance: value('instanceLoss'),
          fairness: value('fairnessLoss'),
          reconstruction: value('reconstructionLoss'),
          alignment: value('alignmentLoss'),
          maskShare: value('maskShare'),
          gradientNorm: value('gradientNorm'),
          lr: rates.learningRate,
          emaDecay: rates.emaDecay,
          imagesPerSecond: (1000 * plan.batch) / (now - stepBegan),
        };
        if (step % logEvery === 0 || stepInEpoch === plan.stepsPerEpoch) metrics.write(line);
        const secondsLeft = ((plan.totalSteps - step) * (now - began)) / (step - begunAt) / 1000;
        report?.({ kind: 'step', steps: plan.totalSteps, epochs: s.epochs, secondsLeft, ...line });
        stepBegan = now;
        if (signal?.aborted && stepInEpoch < plan.stepsPerEpoch) await abort(epoch, stepInEpoch);
      }

      // The end of an epoch is kept; the last one is the result.
      last = await stateOf(epoch + 1, 0);
      await saveTraining(checkpoints, last, shapes);
      savedStep = step;
      if (signal?.aborted && epoch + 1 < s.epochs) await abort(epoch + 1, 0);
    }
    return resultOf(data, last!, [...failed.values()]);
  } finally {
    metrics.close();
    for (const resource of opened.reverse()) await resource.dispose();
  }
}

/** The views of a batch as inputs; rows of images that could not be read are zeros, and not present. */
function viewsOf({ indices, views }: Batch<'weak' | 'strong'>, rows: number, size: number): Record<string, TensorData> {
  const filled = (view: Float32Array): Float32Array => {
    if (indices.length === rows) return view;
    const all = new Float32Array(rows * 3 * size * size);
    all.set(view);
    return all;
  };
  const present = new Float32Array(rows).fill(1, 0, indices.length);
  return { weak: filled(views.weak), strong: filled(views.strong), present };
}

function scalars(values: Readonly<Record<string, number>>): Record<string, TensorData> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Float32Array.of(value)]));
}

/** Student and teacher as they start; moments start at zero. */
function startOf(
  { config, weights, prototypes }: MustData,
  { seed, trainHead }: MustMethodSettings,
): Record<string, Float32Array> {
  const start: Record<string, Float32Array> = {};
  for (const role of ROLES) {
    for (const { name } of visionParameters(config)) start[`${role}.${name}`] = weights[name];
    if (trainHead) start[`${role}.${HEAD}`] = prototypes;
  }
  for (const [name, values] of Object.entries(startMasked(config, seed))) start[`student.${name}`] = values;
  return start;
}

function resultOf(data: MustData, { weights, step }: TrainingState, failed: Failure[]): MustResult {
  const names = visionParameters(data.config).map(({ name }) => name);
  const tower = (role: string): Record<string, Float32Array> =>
    Object.fromEntries(names.map(name => [name, weights[`${role}.${name}`]]));
  const head = (role: string): Float32Array => weights[`${role}.${HEAD}`] ?? data.prototypes;
  return {
    student: tower('student'),
    teacher: tower('teacher'),
    heads: { student: head('student'), teacher: head('teacher') },
    steps: step,
    failed: failed.sort((a, b) => a.index - b.index),
  };
}
