/** What a training will take, before it starts: memory from the sizes of its graph, time from steps that are measured. */
import { join } from 'node:path';
import sharp from 'sharp';
import type { ClipConfig } from '../clip/towers/config.ts';
import { visionParameters, visionTower } from '../clip/towers/vision.ts';
import type { ConfigInput } from '../config/fields.ts';
import { parseConfig } from '../config/schema.ts';
import { input, type Program, program, sizeOf, state } from '../engine/index.ts';
import { listImages } from '../images/source.ts';
import { activationBytes } from '../train/activations.ts';
import { programMemory } from '../train/estimate.ts';
import { measurePace } from '../train/pace.ts';
import { planSteps } from '../train/schedule.ts';
import { isLean, stepProgram, trainedShapes } from '../train/step.ts';
import { tunePlan } from '../train/tune.ts';
import { startWeights } from '../train/weights.ts';
import { loadVocabulary } from '../vocab/vocabulary.ts';
import { openModel } from './model.ts';

/** Memory and time of a training. */
export interface TrainEstimate {
  readonly images: number;
  readonly steps: number;
  /** Bytes of the process at the peak of a step. */
  readonly memory: number;
  /** Bytes on the disk for activations that are kept; 0 without. */
  readonly disk: number;
  /** Seconds of the stage `train`: loading, steps, renewals and the labels at its end, on this machine as busy as it was. */
  readonly seconds: number;
}

/** What ONNX Runtime and the threads hold besides values and weights: 210 to 290 MB for ViT-B/32, ViT-B/16 and ViT-L/14. */
const BESIDE = 260e6;
/** Images embedded at once when structural labels are renewed. */
const EMBEDDED = 32;
/** Images whose headers are read for their sizes. */
const HEADERS = 64;
/** Bytes a second of a checkpoint: written, read again and hashed. */
const SAVED = 300e6;

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
      gradCheckpointing: config.gradCheckpointing,
    };
    const [graph, lean] = [stepProgram(step), isLean(step)];
    const weights = await checkpoint.readWeights(visionParameters(model).map(({ name }) => name));
    const bytesOf = (arrays: Record<string, { length: number }>): number =>
      4 * Object.values(arrays).reduce((sum, { length }) => sum + length, 0);
    const renewals = Math.max(0, config.epochs - config.renewFrom);
    const { resident, live } = programMemory(graph, lean);
    const embedding = programMemory(towerProgram(model, EMBEDDED));
    // To renew labels, the teacher's weights are read, and a second session embeds by them.
    const renewal = renewals > 0 && plan.cachedViews === 0 ? bytesOf(weights) + embedding.resident + embedding.live : 0;
    const { threads, device, workers, cacheBytes } = config;
    // Images wait to be fed while others are decoded, and those that are decoded are kept.
    const views = 2 * 4 * 3 * steps.micro * preprocess.size ** 2;
    const loading =
      plan.cachedViews > 0
        ? 0
        : (Math.max(1, workers) + 1) * views + Math.min(cacheBytes, await decodedBytes(root, files));
    const memory = process.memoryUsage().rss + resident + live + BESIDE + renewal + loading;

    const states = startWeights(weights, plan, config.seed);
    const pace = await measurePace({
      ...{ graph, lean, rows: steps.micro, states, plan, threads, device, workers, cacheBytes },
      data: { config: model, preprocess, root, files, weights },
    });
    const kept = plan.cachedViews > 0;
    // The labels at the end are those of both networks.
    const passes = 2 + (kept ? 1 + plan.cachedViews : renewals);
    const sessions = 2 + (kept || renewals > 0 ? 1 : 0);
    const ways = Object.values(trainedShapes(model, plan)).reduce((sum, shape) => sum + 4 * sizeOf(shape), 0);
    const seconds =
      runs * (steps.stepsPerEpoch * pace.first + (steps.totalSteps - steps.stepsPerEpoch) * pace.later) +
      passes * files.length * pace.embed +
      pace.compileStep +
      sessions * pace.compileTower +
      ((config.epochs + 1) * ways) / SAVED;
    return {
      ...{ images: files.length, steps: steps.totalSteps, memory, seconds },
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

/** What embeds by the teacher. */
function towerProgram(model: ClipConfig, batch: number): Program {
  const size = model.vision_config.image_size;
  const pixels = input('pixels', 'float32', [batch, 3, size, size]);
  return program({ z: visionTower(model, state, pixels) });
}

/** The estimate in one line. */
export function describeTraining({ images, steps, memory, disk, seconds }: TrainEstimate): string {
  const time =
    seconds < 90
      ? `${Math.ceil(seconds)} s`
      : seconds < 5400
        ? `${(seconds / 60).toFixed(seconds < 600 ? 1 : 0)} min`
        : `${(seconds / 3600).toFixed(1)} h`;
  const kept = disk > 0 ? `, ${(disk / 2 ** 30).toFixed(1)} GiB on the disk for activations` : '';
  return `Training on ${images.toLocaleString('en-US')} images takes ${steps.toLocaleString('en-US')} steps, about ${time} and ${(memory / 2 ** 30).toFixed(1)} GiB of memory${kept}`;
}
