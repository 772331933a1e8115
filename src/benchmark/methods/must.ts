/** MUST: CLIP trains itself on its own labels, kept fair over the names, with masked images; no clusters. */
import { visionParameters } from '../../clip/towers/vision.ts';
import { learningRates } from '../../config/schema.ts';
import { featuresBy } from '../../run/features.ts';
import { see } from '../../run/fit.ts';
import { trainMust } from '../../train/must/loop.ts';
import { MUST_OF_SETS, MUST_SETTINGS, type MustMethodSettings } from '../../train/must/settings.ts';
import type { Method, MethodContext, Outcome } from '../method.ts';
import { byNearest } from '../nearest.ts';

export const must: Method = {
  name: 'must',
  title: 'MUST',
  about:
    'Pseudo-labels with fairness, masked images and global-local alignment; epochs, batches, rates and averages as for S³A.',
  reads: ['train'],
  async run(context) {
    const { run, filesOf, test: unseen, config, hooks } = context;
    const own = await run('training');
    const { embedded, named } = await see(own);
    const { checkpoint, logitScale } = await own.clip();
    const tower = visionParameters(checkpoint.config).map(({ name }) => name);
    const result = await trainMust(
      {
        config: checkpoint.config,
        preprocess: checkpoint.preprocess,
        weights: await checkpoint.readWeights(tower),
        logitScale,
        root: embedded.root,
        files: embedded.files,
        prototypes: named.prototypes,
      },
      {
        ...settingsOf(context),
        ...{ device: config.device, threads: config.threads, workers: config.workers, cacheBytes: config.cacheBytes },
      },
      {
        folder: own.folder,
        signal: hooks.signal,
        report(progress) {
          if (progress.kind === 'note') return own.warn(progress.message);
          const { step, steps, loss } = progress;
          // The loop ends by itself on an abort, with a checkpoint, so nothing here may throw.
          hooks.onEvent?.({
            type: 'progress',
            stage: 'train',
            done: step,
            total: steps,
            detail: { loss: loss.toFixed(3) },
          });
        },
      },
    );
    const outcomes: Outcome[] = [];
    for (const part of ['student', 'teacher'] as const) {
      const table = { names: named.vocabulary.names, prototypes: result.heads[part] };
      const label = async (images: typeof embedded): ReturnType<typeof byNearest> => {
        const features = await featuresBy(own, images, result[part]);
        return byNearest(filesOf(images), { features, width: images.width }, table, config);
      };
      outcomes.push({ part, train: await label(embedded), ...(unseen && { test: await label(unseen) }) });
    }
    return outcomes;
  },
};

/** What both trainings have is taken from the benchmark's settings; the rest is MUST's own for the data set. */
function settingsOf({ config, protocol }: MethodContext): MustMethodSettings {
  const ofSet: Partial<MustMethodSettings> = MUST_OF_SETS[protocol as keyof typeof MUST_OF_SETS] ?? {};
  const { threshold, maskRatio, alignmentWeight, learningRate } = { ...MUST_SETTINGS, ...ofSet };
  const { peak, floor } = learningRates(config);
  const { epochs, batchSize, weightDecay, layerDecay, emaStart, emaEnd, emaSteps, seed } = config;
  return {
    ...MUST_SETTINGS,
    ...{ threshold, maskRatio, alignmentWeight, epochs, batchSize, weightDecay, layerDecay },
    ...{ emaStart, emaEnd, emaSteps, seed, maxSteps: config.maxStepsPerEpoch },
    // The loop scales rates by the batch; those of the settings are of the batch that is given.
    learningRate: config.lr === null ? learningRate : (peak * 256) / batchSize,
    minLearningRate: config.lr === null ? learningRate / 20 : (floor * 256) / batchSize,
  };
}
