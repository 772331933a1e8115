/** What a run's settings are to the training of its network. */
import { type Config, learningRates } from '../config/schema.ts';
import { checkCalls } from '../train/calls.ts';
import type { InstanceNames, TrainSettings } from '../train/settings.ts';
import { isWhole, type TuneSettings, tunePlan } from '../train/tune.ts';
import type { Run } from './store.ts';

/**
 * Ends a run at its beginning whose way of tuning does not fit the model or the device.
 * @throws S3aError TUNE, STEPS
 */
export async function checkTuning(run: Run): Promise<void> {
  checkCalls(run.config);
  if (!isWhole(run.config)) tunePlan((await run.clip()).checkpoint.config, run.config);
}

/** Names that the teacher may give an image: the paper's chooses from the whole vocabulary. */
export function instanceNamesOf({ method, instanceNames }: Config): InstanceNames | undefined {
  return method === 's3a' || instanceNames === 'all' ? undefined : instanceNames;
}

/** What changes the weights, in the loop's terms. */
export function trainSettingsOf(config: Config): TrainSettings {
  const { peak, floor } = learningRates(config);
  return {
    epochs: config.epochs,
    batchSize: config.batchSize,
    maxSteps: config.maxStepsPerEpoch,
    // The loop scales rates by the batch, as METHOD states them; ours are those of the batch that is given.
    learningRate: (peak * 256) / config.batchSize,
    minLearningRate: (floor * 256) / config.batchSize,
    weightDecay: config.weightDecay,
    layerDecay: config.layerDecay,
    emaStart: config.emaStart,
    emaEnd: config.emaEnd,
    emaSteps: config.emaSteps,
    threshold: config.threshold,
    instanceWeight: config.instanceWeight,
    instanceNames: instanceNamesOf(config),
    structuralWeight: config.structuralWeight,
    renewFrom: config.renewFrom,
    voteRounds: config.rounds,
    seed: config.seed,
    ...(config.clipNorm === null ? {} : { clip: config.clipNorm }),
    ...(config.microBatch === undefined ? {} : { microBatch: config.microBatch }),
  };
}

/** What of the tower is trained, and how. */
export function tuneSettingsOf(config: Config): TuneSettings {
  return {
    tune: config.tune,
    freezeLayers: config.freezeLayers,
    loraRank: config.loraRank,
    loraAlpha: config.loraAlpha,
    patchDropout: config.patchDropout,
    cachedViews: config.cachedViews,
  };
}
