/** What a fit will take, before it starts: memory from sizes (fit-memory.ts), time from steps that are measured. */
import { join } from 'node:path';
import sharp from 'sharp';
import { clipParameters } from '../clip/checkpoint/checkpoint.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import type { ConfigInput } from '../config/fields.ts';
import { parseConfig } from '../config/schema.ts';
import { chooseDevice, sizeOf } from '../engine/index.ts';
import { listImages } from '../images/source.ts';
import { activationBytes } from '../train/activation-file.ts';
import { runsPerCall } from '../train/calls.ts';
import { measurePace } from '../train/pace.ts';
import { precisionStart } from '../train/precision.ts';
import { planSteps } from '../train/schedule.ts';
import { isLean, stepProgram, trainedShapes } from '../train/step.ts';
import { tunePlan } from '../train/tune.ts';
import { startWeights } from '../train/weights.ts';
import { loadVocabulary } from '../vocab/vocabulary.ts';
import { fitMemory, type StageMemory } from './fit-memory.ts';
import { openModel } from './model.ts';
import { instanceNamesOf } from './train-settings.ts';

/** Memory and time of a training. */
export interface TrainEstimate {
  readonly images: number;
  readonly steps: number;
  /** Bytes of the process at the peak of the whole fit: the greatest of the stages'. */
  readonly memory: number;
  readonly stages: readonly StageMemory[];
  /** Bytes on the disk for activations that are kept; 0 without. */
  readonly disk: number;
  /**
   * Seconds of the stage `train`: loading, steps, checkpoints, renewals, the labels at its end and the saved model, on this machine
   * as busy as it was.
   */
  readonly seconds: number;
}

/** Images whose headers are read for their sizes. */
const HEADERS = 64;
/** Bytes a second of files that are written until they are on the disk: checkpoints with their hashes, models. */
const SAVED = 300e6;
/** Products a second where factors are merged into weights. */
const MERGED = 3e8;
/** Bytes a second of weights that are read and hashed before a training. */
const READ = 500e6;

/**
 * Lists the images, opens the model and runs some steps on the images; writes nothing.
 * @throws S3aError as `fit` does for images, model and settings; TUNE
 */
export async function estimateTraining(images: readonly string[], options: ConfigInput): Promise<TrainEstimate> {
  const config = parseConfig(options);
  const { root, files } = await listImages(images, { recursive: config.recursive });
  const { entries } = await loadVocabulary(config.vocab);
  const clip = await openModel(config, {});
  try {
    const { checkpoint, logitScale } = clip;
    const { config: model, preprocess } = checkpoint;
    const plan = tunePlan(model, config);
    const steps = planSteps({ images: files.length, ...config, maxSteps: config.maxStepsPerEpoch });
    const runs = steps.batch / steps.micro;
    const step = {
      ...{ config: model, batch: steps.micro, names: entries.length, logitScale, plan, accumulate: runs },
      ...{ weightDecay: config.weightDecay, layerDecay: config.layerDecay, clip: config.clipNorm ?? undefined },
      ...{
        gradCheckpointing: config.gradCheckpointing,
        precision: config.precision,
        instanceNames: instanceNamesOf(config),
      },
    };
    const [graph, lean] = [stepProgram(step), isLean(step)];
    const renewals = Math.max(0, config.epochs - config.renewFrom);
    const { threads, workers, cacheBytes, embedBatch, stepsPerExecution } = config;
    const { device } = await chooseDevice(config.device);
    const most = runsPerCall(graph, { device, stepsPerExecution, runs });
    const calls = Math.min(most, runs * steps.stepsPerEpoch);
    const stages = fitMemory({
      ...{
        config: model,
        plan,
        graph,
        lean,
        device,
        calls,
        rows: steps.micro,
        embedBatch,
        workers,
        renews: renewals > 0,
      },
      ...{ images: files.length, names: entries.length, process: process.memoryUsage().rss },
      decoded: Math.min(cacheBytes, await decodedBytes(root, files)),
    });

    const weights = await checkpoint.readWeights(visionParameters(model).map(({ name }) => name));
    const states = { ...startWeights(weights, plan, config.seed), ...precisionStart(config.precision) };
    const pace = await measurePace({
      ...{ graph, lean, calls, rows: steps.micro, states, plan, threads, device, workers, cacheBytes },
      data: { config: model, preprocess, root, files, weights },
    });
    const kept = plan.cachedViews > 0;
    // The labels at the end are those of both networks.
    const passes = 2 + (kept ? 1 + plan.cachedViews : renewals);
    const sessions = 2 + (kept || renewals > 0 ? 1 : 0);
    const bytesOf = (shapes: readonly (readonly number[])[]): number =>
      shapes.reduce((sum, shape) => sum + 4 * sizeOf(shape), 0);
    const tower = bytesOf(visionParameters(model).map(({ shape }) => shape));
    const whole = bytesOf(clipParameters(model).map(({ shape }) => shape));
    const checkpoints = bytesOf(Object.values(trainedShapes(model, plan, config.precision)));
    const factors = plan.targets.reduce((sum, { shape }) => sum + plan.rank * sizeOf(shape), 0);
    const seconds =
      pace.begin +
      // Both networks at the end, the one that is saved, and the teacher of each renewal.
      ((3 + renewals) * factors) / MERGED +
      runs * (steps.stepsPerEpoch * pace.first + (steps.totalSteps - steps.stepsPerEpoch) * pace.later) +
      passes * files.length * pace.embed +
      pace.compileStep +
      sessions * pace.compileTower +
      // The start weights, a network for each session, and the teacher that is saved.
      ((2 + sessions) * tower) / READ +
      // The image tower is saved twice, as ONNX too.
      (config.epochs * checkpoints + tower + whole) / SAVED;
    return {
      ...{ images: files.length, steps: steps.totalSteps, seconds, stages },
      memory: Math.max(...stages.map(({ bytes }) => bytes)),
      disk: kept ? activationBytes({ config: model, files }, plan) : 0,
    };
  } finally {
    await clip.dispose();
  }
}

/** Bytes of all images when they are decoded, from the headers of some. */
async function decodedBytes(root: string, files: readonly string[]): Promise<number> {
  const sizes: number[] = [];
  for (let i = 0; i < files.length; i += Math.ceil(files.length / HEADERS)) {
    try {
      const { width, height } = await sharp(join(root, files[i])).metadata();
      sizes.push(3 * width * height);
    } catch {
      // What cannot be read is skipped by the training too.
    }
  }
  return (files.length * sizes.reduce((sum, bytes) => sum + bytes, 0)) / Math.max(sizes.length, 1);
}

/** The estimate in one line. */
export function describeTraining({ images, steps, memory, stages, disk, seconds }: TrainEstimate): string {
  const time =
    seconds < 90
      ? `${Math.ceil(seconds)} s`
      : seconds < 5400
        ? `${(seconds / 60).toFixed(seconds < 600 ? 1 : 0)} min`
        : `${(seconds / 3600).toFixed(1)} h`;
  const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);
  const peaks = stages.map(({ stage, bytes }) => `${stage} ${gib(bytes)}`).join(', ');
  const card = stages.flatMap(({ card }) => (card === undefined ? [] : [` and ${gib(card)} GiB on the card`])).join('');
  const kept = disk > 0 ? `, ${gib(disk)} GiB on the disk for activations` : '';
  return `Training on ${images.toLocaleString('en-US')} images takes ${steps.toLocaleString('en-US')} steps, about ${time}; the fit takes ${gib(memory)} GiB of memory (${peaks})${card}${kept}`;
}
