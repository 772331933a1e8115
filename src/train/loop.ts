/** Self-training from beginning to end (METHOD §3): epochs of steps, metrics, checkpoints, and going on after a kill. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { chooseDevice, compile } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import type { Failure } from '../images/batch.ts';
import { random } from '../random.ts';
import { type Activations, createActivations } from './activations.ts';
import { callsOf, type FedRun, resultsOf, runsPerCall } from './calls.ts';
import { readStates, resumeTraining, saveTraining, type TrainingToSave } from './checkpoint.ts';
import { feedsOf, meanOf, type StepReport } from './feeds.ts';
import { openMetrics, type StepMetrics } from './metrics.ts';
import { checkLoss, precisionStart, SLOW_HALF } from './precision.ts';
import { cosineRate, emaDecay, planSteps } from './schedule.ts';
import {
  checkTraining,
  METHOD_SETTINGS,
  startOf,
  type TrainData,
  type TrainSettings,
  trainingKey,
  type Weights,
} from './settings.ts';
import { imageSource } from './source.ts';
import { isLean, stepProgram, trainedShapes } from './step.ts';
import { createRenewal, type Renewal } from './structural.ts';
import type { Role } from './tower.ts';
import { tunePlan } from './tune.ts';
import { roleWeights, startWeights } from './weights.ts';

/** What the reporter hears. */
export type TrainProgress =
  | { kind: 'note'; message: string }
  /** `logged`: metrics.jsonl has a line of it. */
  | ({ kind: 'step'; steps: number; epochs: number; secondsLeft: number; logged: boolean } & StepMetrics)
  /** Views of which activations are kept, before the first step. */
  | { kind: 'activations'; done: number; total: number }
  | { kind: 'renew'; epoch: number; done: number; total: number };

export interface TrainPlace {
  /** Where `metrics.jsonl` and `checkpoints/` are; a training that was begun there goes on. */
  folder: string;
  /** Called after each step and each batch of a renewal. */
  report?: (progress: TrainProgress) => void;
  /** Ends the training after the step under way, or after all steps of a call under way, with a checkpoint. */
  signal?: AbortSignal;
}

/** A run of the graph with what its place in the training gives it. */
interface StepRun extends FedRun {
  readonly rates: { readonly learningRate: number; readonly emaDecay: number };
  readonly unreadable: readonly Failure[];
}

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
 * training; TUNE for ways of tuning that do not fit; SPACE when activations do not fit on the disk; ABORTED after `signal`; DIVERGED when the loss is no number any more; WRITE
 */
export async function train(
  data: TrainData,
  options: TrainSettings,
  { folder, report, signal }: TrainPlace,
): Promise<TrainResult> {
  const { config, files, prototypes } = data;
  const { threads, workers, cacheBytes, gradCheckpointing, precision, stepsPerExecution, logEvery = 10 } = options;
  const { device } = await chooseDevice(options.device ?? 'cpu');
  const given = Object.entries(options).filter(([name, value]) => name in METHOD_SETTINGS && value !== undefined);
  const s = { ...METHOD_SETTINGS, ...Object.fromEntries(given) };
  // Not held while steps run, but read again where what is frozen is wanted.
  let initial: Weights | undefined = await startOf(data);
  checkTraining(data, initial, s);
  const tuning = tunePlan(config, options);
  const plan = planSteps({ images: files.length, microBatch: options.microBatch, ...s });
  const runs = plan.batch / plan.micro;
  if (plan.note !== undefined) report?.({ kind: 'note', message: plan.note });
  if (precision === 'amp' && device === 'cpu') report?.({ kind: 'note', message: SLOW_HALF });

  // Where the training stands: at its start, or where a checkpoint left it.
  const shapes = trainedShapes(config, tuning, precision);
  const checkpoints = join(folder, 'checkpoints');
  const key = trainingKey(data, initial, s, options, tuning);
  let saved = await resumeTraining(checkpoints, shapes, key, message => report?.({ kind: 'note', message }));
  const begun = { step: 0, epoch: 0, stepInEpoch: 0, metricsBytes: 0, structural: data.structural };
  const at = saved ? { ...saved, weights: undefined } : begun;
  let { step, structural } = at;
  let savedStep = saved ? step : -1;
  const weightsOf = async (
    role: Role,
    states: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, Float32Array>> =>
    roleWeights(tuning.frozen.length > 0 ? await startOf(data) : {}, tuning, states, role);
  const trainedOf = (role: Role): string[] => tuning.trained.map(({ name }) => `${role}.${name}`);
  const result = (unreadable: Failure[]): TrainResult => ({
    weights: async role => weightsOf(role, await readStates(checkpoints, trainedOf(role))),
    structural,
    steps: step,
    failed: unreadable.sort((a, b) => a.index - b.index),
  });
  if (saved && saved.epoch >= s.epochs) return result([]);

  const metrics = openMetrics(join(folder, 'metrics.jsonl'), at.metricsBytes);
  const opened: { dispose(): Promise<void> }[] = [];
  const failed = new Map<number, Failure>();
  try {
    let activations: Activations | undefined;
    if (tuning.cachedViews > 0) {
      const onProgress = (done: number, total: number): void => {
        report?.({ kind: 'activations', done, total });
        if (signal?.aborted) throw stopped(step);
      };
      const place = { folder: join(folder, 'activations'), key, onProgress };
      initial = undefined;
      activations = await createActivations({ data, plan: tuning, seed: s.seed, ...options, ...place });
    }
    const source = activations ?? imageSource(data, tuning, { seed: s.seed, workers, cacheBytes });
    opened.push(source);
    const names = prototypes.length / config.projection_dim;
    const { logitScale } = data;
    const { weightDecay, layerDecay } = s;
    const graph = stepProgram({
      ...{ config, batch: plan.micro, names, logitScale, weightDecay, layerDecay },
      ...{ clip: options.clip, accumulate: runs, plan: tuning, gradCheckpointing, precision },
    });
    // What is frozen is laid out for products once, and held only there; on a card the head is too.
    const frozen = tuning.frozen.length > 0 || 'cuda';
    const lean = isLean({ clip: options.clip, accumulate: runs, gradCheckpointing, precision });
    const most = runsPerCall(graph, { device, stepsPerExecution, runs });
    const session = await compile(graph, { device, threads, lean, frozen, steps: most > 1 ? most : undefined });
    opened.push(session);
    initial ??= await startOf(data);
    const start = Object.entries({
      ...startWeights(initial, tuning, s.seed),
      ...precisionStart(precision),
      ...saved?.weights,
    });
    const move = typeof data.weights === 'function';
    await session.setState(Object.fromEntries(start.filter(([name]) => graph.inputs.has(name))), { move });
    await session.setState({ head: prototypes });
    start.length = 0;
    initial = undefined;
    saved = undefined;
    let renewal: Renewal | undefined;

    // One at a time: all weights with their moments, copied out of the session at once, would double the memory of a step.
    const weights = async (name: string): Promise<Float32Array> =>
      (await session.getState([name]))[name] as Float32Array;
    const stateOf = (epoch: number, stepInEpoch: number): TrainingToSave => ({
      ...{ key, step, epoch, stepInEpoch, metricsBytes: metrics.bytes(), structural, weights },
    });
    const abort = async (epoch: number, stepInEpoch: number): Promise<never> => {
      if (step !== savedStep) await saveTraining(checkpoints, stateOf(epoch, stepInEpoch), shapes);
      throw stopped(step);
    };

    const peak = (s.learningRate * plan.batch) / 256;
    const floor = (s.minLearningRate * plan.batch) / 256;
    // What the rest of an epoch runs: steps, or parts of them when the batch is larger than what is computed at once.
    async function* runsOf(epoch: number, indices: Int32Array): AsyncGenerator<StepRun> {
      const { threshold, instanceWeight, structuralWeight } = s;
      const first = step;
      let run = 0;
      for await (const batch of source.batches({ indices, batchSize: plan.micro, epoch })) {
        const [at, part] = [first + Math.floor(run / runs), run % runs];
        const rates = {
          learningRate: cosineRate(at, plan.totalSteps, peak, floor),
          emaDecay: emaDecay(at, s.emaStart, s.emaEnd, s.emaSteps),
        };
        const sums: Record<string, number> =
          runs > 1 ? { keep: part === 0 ? 0 : 1, apply: part + 1 === runs ? 1 : 0 } : {};
        const count: Record<string, number> = precision === 'amp' ? {} : { step: at + 1 };
        const scalars = { ...rates, ...sums, ...count, threshold, instanceWeight, structuralWeight };
        const feeds = feedsOf(batch, structural, plan.micro, graph, scalars);
        yield { feeds, rates, unreadable: batch.failed };
        run++;
      }
    }

    const [began, begunAt] = [performance.now(), step];
    for (let epoch = at.epoch; epoch < s.epochs; epoch++) {
      let stepInEpoch = epoch === at.epoch ? at.stepInEpoch : 0;

      // New structural labels from what the teacher knows by now.
      if (epoch >= s.renewFrom && stepInEpoch === 0) {
        if (!renewal) {
          const { embedAll } = activations ?? {};
          renewal = await createRenewal({ ...options, ...data, device, rounds: s.voteRounds, embedAll });
          opened.push(renewal);
        }
        const teacher = await session.getState(trainedOf('teacher'));
        structural = await renewal.labels(await weightsOf('teacher', teacher), (done, total) => {
          report?.({ kind: 'renew', epoch, done, total });
          if (signal?.aborted) throw stopped(step);
        });
      }

      // Each epoch has its own order; what a checkpoint has behind it is left out.
      const order = random(s.seed, 'epoch', epoch).shuffle(Int32Array.from(files.keys()));
      const indices = order.subarray(stepInEpoch * plan.batch, plan.stepsPerEpoch * plan.batch);
      const total = indices.length / plan.micro;
      let parts: StepReport[] = [];
      let callBegan = performance.now();
      let stepBegan = callBegan;
      for await (const call of callsOf(runsOf(epoch, indices), { most, total, runs })) {
        const outputs = await session.run(call.feeds, { move: most > 1 });
        const callEnded = performance.now();
        for (const [i, { rates, unreadable }] of call.runs.entries()) {
          for (const failure of unreadable) failed.set(failure.index, failure);
          parts.push(resultsOf(outputs, i) as StepReport);
          if (parts.length < runs) continue;
          step++;
          stepInEpoch++;

          // What is known about the step, to the reporter and to the file. Steps of one call took equally long.
          const { loss, instanceLoss, structuralLoss, maskShare, agreement, gradientNorm } = meanOf(parts);
          const lossScale = precision === 'amp' ? Number(outputs.lossScale[i]) : undefined;
          checkLoss(loss, lossScale, step, s.learningRate);
          const now = callBegan + ((callEnded - callBegan) * (i + 1)) / call.runs.length;
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
            ...(lossScale === undefined ? {} : { lossScale }),
            imagesPerSecond: (1000 * plan.batch) / (now - stepBegan),
          };
          const logged = step % logEvery === 0 || stepInEpoch === plan.stepsPerEpoch;
          if (logged) metrics.write(line);
          const secondsLeft = ((plan.totalSteps - step) * (now - began)) / (step - begunAt) / 1000;
          report?.({ kind: 'step', steps: plan.totalSteps, epochs: s.epochs, secondsLeft, logged, ...line });
          parts = [];
          stepBegan = now;
        }
        callBegan = callEnded;
        const isWhole = parts.length === 0 && stepInEpoch < plan.stepsPerEpoch;
        if (signal?.aborted && isWhole) await abort(epoch, stepInEpoch);
      }

      // The end of an epoch is kept; the last one is the result.
      await saveTraining(checkpoints, stateOf(epoch + 1, 0), shapes);
      savedStep = step;
      if (signal?.aborted && epoch + 1 < s.epochs) await abort(epoch + 1, 0);
    }
  } finally {
    metrics.close();
    for (const resource of opened.reverse()) await resource.dispose();
  }
  await rm(join(folder, 'activations'), { recursive: true, force: true });
  return result([...failed.values()]);
}

function stopped(step: number): S3aError {
  return new S3aError('ABORTED', `training was stopped after step ${step}`, 'Start it again to go on from there.');
}
