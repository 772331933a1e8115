/** A training that is open: where its rows come from, its compiled step with all states, and the files that it writes. */
import { join } from 'node:path';
import { compile, type Program, type Session } from '../engine/index.ts';
import type { Failure } from '../images/batch.ts';
import { type Activations, createActivations } from './activations.ts';
import { runsPerCall } from './calls.ts';
import { type StepClock, startClock } from './clock.ts';
import { type MetricsFile, openMetrics } from './metrics.ts';
import { precisionStart } from './precision.ts';
import type { TrainPlace } from './progress.ts';
import type { Resources } from './resources.ts';
import type { TrainData, TrainSettings } from './settings.ts';
import { imageSource, type TrainSource } from './source.ts';
import { createKeeper, type Keeper, type Kept, type Standing, stopped, type TakenUp } from './standing.ts';
import { isLean, stepProgram } from './step.ts';
import type { TrainingPlan } from './training-plan.ts';
import { type HeldWeights, startWeights } from './weights.ts';

/** A training as it was planned and taken up. */
export interface BegunTraining {
  readonly data: TrainData;
  readonly options: TrainSettings;
  readonly plan: TrainingPlan;
  readonly held: HeldWeights;
  readonly kept: Kept;
  readonly taken: TakenUp;
}

export interface OpenTraining extends OpenStep {
  readonly data: TrainData;
  readonly options: TrainSettings;
  readonly plan: TrainingPlan;
  /** Changes with every step. */
  readonly at: Standing;
  readonly source: TrainSource;
  /** Where activations are kept, they are the source. */
  readonly activations: Activations | undefined;
  readonly metrics: MetricsFile;
  readonly keeper: Keeper;
  readonly clock: StepClock;
  /** Images that could not be read, by index. */
  readonly failed: Map<number, Failure>;
}

interface OpenStep {
  readonly graph: Program;
  readonly session: Session;
  /** Most runs of the graph in a call. */
  readonly most: number;
}

/**
 * Opens files, threads and the session, and makes the activations that are to be kept.
 * @throws S3aError as `train`
 */
export async function openTraining(begun: BegunTraining, place: TrainPlace, opened: Resources): Promise<OpenTraining> {
  const { data, options, plan, held, kept, taken } = begun;
  const metrics = openMetrics(join(place.folder, 'metrics.jsonl'), taken.metricsBytes);
  opened.add({ dispose: async () => metrics.close() });
  let activations: Activations | undefined;
  if (plan.tuning.cachedViews > 0) {
    held.letGo();
    activations = await keepActivations(begun, place);
  }
  const { workers, cacheBytes } = options;
  const source = activations ?? imageSource(data, plan.tuning, { seed: plan.settings.seed, workers, cacheBytes });
  opened.add(source);
  const step = await openStep(begun, opened);
  return {
    ...{ data, options, plan, at: taken.at, source, activations, metrics },
    ...step,
    keeper: createKeeper(kept, taken, step.session, metrics),
    clock: startClock(plan.steps, taken.at.step),
    failed: new Map(),
  };
}

function keepActivations(
  { data, options, plan, taken }: BegunTraining,
  { folder, report, signal }: TrainPlace,
): Promise<Activations> {
  const { tuning, settings, key } = plan;
  const onProgress = (done: number, total: number): void => {
    report?.({ kind: 'activations', done, total });
    if (signal?.aborted) throw stopped(taken.at.step);
  };
  const place = { folder: join(folder, 'activations'), key, onProgress };
  return createActivations({ data, plan: tuning, seed: settings.seed, ...options, ...place });
}

/** Compiles the step and gives it the states that it begins with. */
async function openStep(begun: BegunTraining, opened: Resources): Promise<OpenStep> {
  const { data, options, plan } = begun;
  const { clip, gradCheckpointing, precision, instanceNames, stepsPerExecution, threads } = options;
  const { device, runs, steps, tuning, settings } = plan;
  const graph = stepProgram({
    ...{ config: data.config, batch: steps.micro, names: data.prototypes.length / data.config.projection_dim },
    ...{ logitScale: data.logitScale, weightDecay: settings.weightDecay, layerDecay: settings.layerDecay },
    ...{ clip, accumulate: runs, plan: tuning, gradCheckpointing, precision, instanceNames },
  });
  // What is frozen is laid out for products once, and held only there; on a card the head is too.
  const frozen = tuning.frozen.length > 0 || 'cuda';
  const lean = isLean({ clip, accumulate: runs, gradCheckpointing, precision });
  const most = runsPerCall(graph, { device, stepsPerExecution, runs });
  const session = await compile(graph, { device, threads, lean, frozen, steps: most > 1 ? most : undefined });
  opened.add(session);
  await giveStates(session, graph, begun);
  return { graph, session, most };
}

/** Hands all states over to a session; what they came from is not held any longer. */
async function giveStates(session: Session, graph: Program, begun: BegunTraining): Promise<void> {
  const { data, options, plan, held, taken } = begun;
  const start = {
    ...startWeights(await held.read(), plan.tuning, plan.settings.seed),
    ...precisionStart(options.precision),
    ...taken.takeStates(),
  };
  const known = Object.fromEntries(Object.entries(start).filter(([name]) => graph.inputs.has(name)));
  await session.setState(known, { move: typeof data.weights === 'function' });
  await session.setState({ head: data.prototypes });
  held.letGo();
}
