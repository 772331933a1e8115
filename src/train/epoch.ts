/** One epoch: its images as runs of the graph, these as calls of the device, and what is told of each step. */
import type { Failure } from '../images/batch.ts';
import { callsOf, type FedRun, resultsOf } from './calls.ts';
import type { StepTime } from './clock.ts';
import { feedsOf, labelsFor, meanOf, type StepReport } from './feeds.ts';
import type { StepMetrics } from './metrics.ts';
import type { OpenTraining } from './open.ts';
import { checkLoss } from './precision.ts';
import type { TrainPlace } from './progress.ts';
import { imagesLeft, type Rates, ratesAt } from './schedule.ts';

/** A run of the graph with what its place in the training gives it. */
interface StepRun extends FedRun {
  readonly rates: Rates;
  readonly unreadable: readonly Failure[];
}

/**
 * Makes the steps that an epoch has left.
 * @throws S3aError ABORTED after `signal`, DIVERGED, WRITE
 */
export async function trainEpoch(training: OpenTraining, { report, signal }: TrainPlace): Promise<void> {
  const { data, plan, at, session, most, clock, failed } = training;
  const { steps, runs } = plan;
  const indices = imagesLeft(data.files.length, steps, plan.settings.seed, at);
  const total = indices.length / steps.micro;
  let parts: StepReport[] = [];
  clock.begin();
  // A GPU takes the images of the next step while it computes this one.
  const stage = plan.device === 'webgpu' ? session.stage : undefined;
  for await (const call of callsOf(runsOf(training, indices), { most, total, runs, stage })) {
    const outputs = await session.run(call.feeds, { move: most > 1 });
    const timeAt = clock.ended();
    for (const [i, { rates, unreadable }] of call.runs.entries()) {
      for (const failure of unreadable) failed.set(failure.index, failure);
      parts.push(resultsOf(outputs, i) as StepReport);
      if (parts.length < runs) continue;
      at.step++;
      at.stepInEpoch++;
      tell(training, lineOf(training, parts, rates), timeAt((i + 1) / call.runs.length), report);
      parts = [];
    }
    const isWhole = parts.length === 0 && at.stepInEpoch < steps.stepsPerEpoch;
    if (signal?.aborted && isWhole) await training.keeper.stop(at);
  }
}

/** What the rest of an epoch runs: steps, or parts of them when the batch is larger than what is computed at once. */
async function* runsOf(
  { plan, options, at, graph, source }: OpenTraining,
  indices: Int32Array,
): AsyncGenerator<StepRun> {
  const { settings, steps, runs } = plan;
  const { threshold, instanceWeight, structuralWeight } = settings;
  const first = at.step;
  const labels = labelsFor(graph, at.structural);
  let run = 0;
  for await (const batch of source.batches({ indices, batchSize: steps.micro, epoch: at.epoch })) {
    // Calls are made ahead, so this step is not the one that the training stands at.
    const [step, part] = [first + Math.floor(run / runs), run % runs];
    const rates = ratesAt(step, settings, steps);
    const sums: Record<string, number> = runs > 1 ? { keep: part === 0 ? 0 : 1, apply: part + 1 === runs ? 1 : 0 } : {};
    const count: Record<string, number> = options.precision === 'amp' ? {} : { step: step + 1 };
    const scalars = { ...rates, ...sums, ...count, threshold, instanceWeight, structuralWeight };
    yield { feeds: feedsOf(batch, labels, steps.micro, graph, scalars), rates, unreadable: batch.failed };
    run++;
  }
}

/**
 * The figures of the step that was just made, but for its time.
 * @throws S3aError DIVERGED
 */
function lineOf(
  { at, plan, options }: OpenTraining,
  parts: readonly StepReport[],
  rates: Rates,
): Omit<StepMetrics, 'imagesPerSecond'> {
  const { loss, instanceLoss, structuralLoss, maskShare, agreement, gradientNorm } = meanOf(parts);
  const lossScale = options.precision === 'amp' ? Number(parts.at(-1)!.lossScale[0]) : undefined;
  checkLoss(loss, lossScale, at.step, plan.settings.learningRate);
  return {
    epoch: at.epoch,
    step: at.step,
    loss,
    instance: instanceLoss,
    structural: structuralLoss,
    maskShare,
    agreement,
    gradientNorm,
    lr: rates.learningRate,
    emaDecay: rates.emaDecay,
    ...(lossScale === undefined ? {} : { lossScale }),
  };
}

/** Tells a step to the reporter, and to the file where it is its turn. */
function tell(
  { at, plan: { steps, settings }, options: { logEvery = 10 }, metrics }: OpenTraining,
  figures: Omit<StepMetrics, 'imagesPerSecond'>,
  { imagesPerSecond, secondsLeft }: StepTime,
  report: TrainPlace['report'],
): void {
  const line: StepMetrics = { ...figures, imagesPerSecond };
  const logged = at.step % logEvery === 0 || at.stepInEpoch === steps.stepsPerEpoch;
  if (logged) metrics.write(line);
  report?.({ kind: 'step', steps: steps.totalSteps, epochs: settings.epochs, secondsLeft, logged, ...line });
}
