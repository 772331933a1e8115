/** Self-training from beginning to end (METHOD §3): epochs of steps, metrics, checkpoints, and going on after a kill. */
import { join } from 'node:path';
import { visionParameters } from '../clip/towers/vision.ts';
import { compile } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import type { Failure } from '../images/batch.ts';
import { createLoader } from '../images/loader.ts';
import { random } from '../random.ts';
import { loadTraining, saveTraining, type TrainingState } from './checkpoint.ts';
import { feedsOf, meanOf, type StepReport } from './feeds.ts';
import { openMetrics, type StepMetrics } from './metrics.ts';
import { cosineRate, emaDecay, planSteps } from './schedule.ts';
import { checkTraining, METHOD_SETTINGS, type TrainData, type TrainSettings, trainingKey } from './settings.ts';
import { stepProgram, trainedShapes } from './step.ts';
import { createRenewal, type Renewal } from './structural.ts';

/** What the reporter hears. */
export type TrainProgress =
  | { kind: 'note'; message: string }
  | ({ kind: 'step'; steps: number; epochs: number; secondsLeft: number } & StepMetrics)
  | { kind: 'renew'; epoch: number; done: number; total: number };

export interface TrainPlace {
  /** Where `metrics.jsonl` and `checkpoints/` are; a training that was begun there goes on. */
  folder: string;
  /** Called after each step and each batch of a renewal. */
  report?: (progress: TrainProgress) => void;
  /** Ends the training after the step under way, with a checkpoint. */
  signal?: AbortSignal;
}

export interface TrainResult {
  /** Image-tower weights by transformers' names. */
  readonly student: Record<string, Float32Array>;
  readonly teacher: Record<string, Float32Array>;
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
 * training; ABORTED after `signal`; DIVERGED when the loss is no number any more; WRITE
 */
export async function train(
  data: TrainData,
  options: TrainSettings,
  { folder, report, signal }: TrainPlace,
): Promise<TrainResult> {
  const { config, preprocess, root, files, prototypes } = data;
  const { device, threads, workers, cacheBytes, logEvery = 10 } = options;
  const given = Object.entries(options).filter(([name, value]) => name in METHOD_SETTINGS && value !== undefined);
  const s = { ...METHOD_SETTINGS, ...Object.fromEntries(given) };
  checkTraining(data, s);
  const plan = planSteps({ images: files.length, microBatch: options.microBatch, ...s });
  const runs = plan.batch / plan.micro;
  if (plan.note !== undefined) report?.({ kind: 'note', message: plan.note });

  // Where the training stands: at its start, or where a checkpoint left it.
  const shapes = trainedShapes(config);
  const checkpoints = join(folder, 'checkpoints');
  const key = trainingKey(data, s, options);
  const { state: saved, damaged } = await loadTraining(checkpoints, shapes);
  for (const message of damaged) report?.({ kind: 'note', message: `${message}; an older one is whole` });
  if (saved && saved.key !== key) {
    throw new S3aError(
      'CHECKPOINT',
      `${checkpoints} belongs to a training with other images, settings or labels`,
      'Train into another folder, or remove this one.',
    );
  }
  const at = saved ?? { key, step: 0, epoch: 0, stepInEpoch: 0, metricsBytes: 0, structural: data.structural };
  let { step, structural } = at;
  let savedStep = saved ? step : -1;
  if (saved && saved.epoch >= s.epochs) return resultOf(data, saved, []);

  const metrics = openMetrics(join(folder, 'metrics.jsonl'), at.metricsBytes);
  const opened: { dispose(): Promise<void> }[] = [];
  try {
    const loader = createLoader({ root, files, workers, cacheBytes, ...preprocess });
    opened.push(loader);
    const names = prototypes.length / config.projection_dim;
    const { logitScale } = data;
    const { weightDecay, layerDecay } = s;
    const graph = { config, batch: plan.micro, names, logitScale, weightDecay, layerDecay, clip: options.clip };
    const session = await compile(stepProgram({ ...graph, accumulate: runs }), { device, threads });
    opened.push(session);
    await session.setState({ head: prototypes, ...(saved?.weights ?? startOf(data)) });
    let renewal: Renewal | undefined;

    const stateOf = async (epoch: number, stepInEpoch: number): Promise<TrainingState> => {
      const weights = (await session.getState(Object.keys(shapes))) as Record<string, Float32Array>;
      return { key, step, epoch, stepInEpoch, metricsBytes: metrics.bytes(), structural, weights };
    };
    const abort = async (epoch: number, stepInEpoch: number): Promise<never> => {
      if (step !== savedStep) await saveTraining(checkpoints, await stateOf(epoch, stepInEpoch), shapes);
      throw stopped(step);
    };

    const failed = new Map<number, Failure>();
    const peak = (s.learningRate * plan.batch) / 256;
    const floor = (s.minLearningRate * plan.batch) / 256;
    const [began, begunAt] = [performance.now(), step];
    let last: TrainingState | undefined;
    for (let epoch = at.epoch; epoch < s.epochs; epoch++) {
      let stepInEpoch = epoch === at.epoch ? at.stepInEpoch : 0;

      // New structural labels from what the teacher knows by now.
      if (epoch >= s.renewFrom && stepInEpoch === 0) {
        if (!renewal) {
          renewal = await createRenewal({ ...options, ...data, rounds: s.voteRounds });
          opened.push(renewal);
        }
        const teacher = weightsOf(data, await session.getState(teacherNames(data)), 'teacher');
        structural = await renewal.labels(teacher, (done, total) => {
          report?.({ kind: 'renew', epoch, done, total });
          if (signal?.aborted) throw stopped(step);
        });
      }

      // Each epoch has its own order; what a checkpoint has behind it is left out.
      const order = random(s.seed, 'epoch', epoch).shuffle(Int32Array.from(files.keys()));
      const indices = order.subarray(stepInEpoch * plan.batch, plan.stepsPerEpoch * plan.batch);
      const views = ['weak', 'strong'] as const;
      let parts: StepReport[] = [];
      let stepBegan = performance.now();
      for await (const batch of loader.batches({ indices, batchSize: plan.micro, views, seed: s.seed, epoch })) {
        for (const failure of batch.failed) failed.set(failure.index, failure);

        // One step, or a part of it when the batch is larger than what is computed at once.
        const rates = {
          learningRate: cosineRate(step, plan.totalSteps, peak, floor),
          emaDecay: emaDecay(step, s.emaStart, s.emaEnd, s.emaSteps),
        };
        const part: Record<string, number> =
          runs > 1 ? { keep: parts.length === 0 ? 0 : 1, apply: parts.length + 1 === runs ? 1 : 0 } : {};
        const { threshold, instanceWeight, structuralWeight } = s;
        const scalars = { ...rates, ...part, step: step + 1, threshold, instanceWeight, structuralWeight };
        const outputs = await session.run(feedsOf(batch, structural, plan.micro, preprocess.size, scalars));
        parts.push(outputs as StepReport);
        if (parts.length < runs) continue;
        step++;
        stepInEpoch++;

        // What is known about the step, to the reporter and to the file.
        const { loss, instanceLoss, structuralLoss, maskShare, agreement, gradientNorm } = meanOf(parts);
        if (!Number.isFinite(loss)) {
          const hint = `Lower the learning rate (it is ${s.learningRate} for 256 images).`;
          throw new S3aError('DIVERGED', `the loss is ${loss} at step ${step}`, hint);
        }
        const now = performance.now();
        const line: StepMetrics = {
          epoch,
          step,
          loss,
          instance: instanceLoss,
          structural: structuralLoss,
          maskShare,
          agreement,
          gradientNorm,
          lr: rates.learningRate,
          emaDecay: rates.emaDecay,
          imagesPerSecond: (1000 * plan.batch) / (now - stepBegan),
        };
        if (step % logEvery === 0 || stepInEpoch === plan.stepsPerEpoch) metrics.write(line);
        const secondsLeft = ((plan.totalSteps - step) * (now - began)) / (step - begunAt) / 1000;
        report?.({ kind: 'step', steps: plan.totalSteps, epochs: s.epochs, secondsLeft, ...line });
        parts = [];
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

function stopped(step: number): S3aError {
  return new S3aError('ABORTED', `training was stopped after step ${step}`, 'Start it again to go on from there.');
}

/** Student and teacher as they start; moments start at zero. */
function startOf({ config, weights }: TrainData): Record<string, Float32Array> {
  const names = visionParameters(config).map(({ name }) => name);
  return Object.fromEntries(
    ['student', 'teacher'].flatMap(role => names.map(name => [`${role}.${name}`, weights[name]])),
  );
}

function teacherNames({ config }: TrainData): string[] {
  return visionParameters(config).map(({ name }) => `teacher.${name}`);
}

/** One role's weights by transformers' names. */
function weightsOf({ config }: TrainData, states: Record<string, unknown>, role: string): Record<string, Float32Array> {
  return Object.fromEntries(
    visionParameters(config).map(({ name }) => [name, states[`${role}.${name}`] as Float32Array]),
  );
}

function resultOf(data: TrainData, { weights, structural, step }: TrainingState, failed: Failure[]): TrainResult {
  return {
    student: weightsOf(data, weights, 'student'),
    teacher: weightsOf(data, weights, 'teacher'),
    structural,
    steps: step,
    failed: failed.sort((a, b) => a.index - b.index),
  };
}
