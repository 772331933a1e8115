/** What a training will take, before it starts: memory from the sizes of its graph, time from a step that is measured. */
import { visionParameters, visionTower } from '../clip/towers/vision.ts';
import type { ConfigInput } from '../config/fields.ts';
import { parseConfig } from '../config/schema.ts';
import { compile, input, type Program, program, sizeOf, state, type TensorData } from '../engine/index.ts';
import { listImages } from '../images/source.ts';
import { random } from '../random.ts';
import { activationBytes } from '../train/activations.ts';
import { programMemory } from '../train/estimate.ts';
import { planSteps } from '../train/schedule.ts';
import { stepProgram } from '../train/step.ts';
import { frozenPart } from '../train/tower.ts';
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
  /** Seconds of all steps, of activations that are kept, and of renewals, on this machine as busy as it was. */
  readonly seconds: number;
}

/** What ONNX Runtime and the threads hold besides values and weights: 250 to 290 MB for ViT-B/32 at 8 and 32 images. */
const BESIDE = 260e6;
/** Images embedded at once while a step's parts are measured. */
const EMBEDDED = 32;

/**
 * Lists the images, opens the model and runs two steps on noise; writes nothing to the run folder.
 * @throws S3aError as `fit` does for images, model and settings; TUNE
 */
export async function estimateTraining(images: readonly string[], options: ConfigInput): Promise<TrainEstimate> {
  const config = parseConfig(options);
  const { files } = await listImages(images, { recursive: config.recursive });
  const { entries } = await loadVocabulary(config.vocab);
  const clip = await openModel(config, {});
  try {
    const { checkpoint, logitScale } = clip;
    const { config: model } = checkpoint;
    const plan = tunePlan(model, config);
    const steps = planSteps({ images: files.length, ...config, maxSteps: config.maxStepsPerEpoch });
    const runs = steps.batch / steps.micro;
    const graph = stepProgram({
      ...{ config: model, batch: steps.micro, names: entries.length, logitScale, plan, accumulate: runs },
      gradCheckpointing: config.gradCheckpointing,
      ...{ weightDecay: config.weightDecay, layerDecay: config.layerDecay, clip: config.clipNorm ?? undefined },
    });
    const weights = await checkpoint.readWeights(visionParameters(model).map(({ name }) => name));
    const { resident, live } = programMemory(graph);
    const memory = process.memoryUsage().rss + resident + live + BESIDE;
    const { threads, device } = config;
    const pace = (measured: Program, states: Record<string, Float32Array>): Promise<number> =>
      secondsOf(measured, states, { threads, device });
    const step = runs * (await pace(graph, startWeights(weights, plan, config.seed)));
    const renewals = Math.max(0, config.epochs - config.renewFrom);
    const kept = plan.cachedViews > 0;
    const passes = kept ? 1 + plan.cachedViews : renewals;
    const size = model.vision_config.image_size;
    const pixels = input('pixels', 'float32', [EMBEDDED, 3, size, size]);
    const part = kept
      ? frozenPart(model, plan, EMBEDDED)
      : program({ z: visionTower(model, (name, shape) => state(`frozen.${name}`, shape), pixels) });
    const all = Object.fromEntries(Object.entries(weights).map(([name, data]) => [`frozen.${name}`, data]));
    const embed = passes > 0 ? (await pace(part, all)) / EMBEDDED : 0;
    return {
      ...{ images: files.length, steps: steps.totalSteps, memory },
      disk: kept ? activationBytes({ config: model, files }, plan) : 0,
      seconds: steps.totalSteps * step + passes * files.length * embed,
    };
  } finally {
    await clip.dispose();
  }
}

/** Seconds of the second run of a program; the first takes its memory. */
async function secondsOf(
  graph: Program,
  states: Record<string, Float32Array>,
  options: Parameters<typeof compile>[1],
): Promise<number> {
  const frozen = [...graph.inputs.keys()].some(name => name.startsWith('frozen.'));
  const session = await compile(graph, { ...options, frozen });
  try {
    await session.setState(Object.fromEntries(Object.entries(states).filter(([name]) => graph.inputs.has(name))));
    const draw = random(0, 'estimate');
    const feeds: Record<string, TensorData> = {};
    for (const [name, { shape, dtype, source }] of graph.inputs) {
      if (source.kind === 'input' && source.state) continue;
      const length = sizeOf(shape);
      feeds[name] = dtype === 'int32' ? new Int32Array(length) : Float32Array.from({ length }, () => draw.normal());
    }
    await session.run(feeds);
    const began = performance.now();
    await session.run(feeds);
    return (performance.now() - began) / 1000;
  } finally {
    await session.dispose();
  }
}

/** The estimate in one line. */
export function describeTraining({ images, steps, memory, disk, seconds }: TrainEstimate): string {
  const time =
    seconds < 90
      ? `${Math.ceil(seconds)} s`
      : seconds < 5400
        ? `${Math.ceil(seconds / 60)} min`
        : `${(seconds / 3600).toFixed(1)} h`;
  const kept = disk > 0 ? `, ${(disk / 2 ** 30).toFixed(1)} GiB on the disk for activations` : '';
  return `Training on ${images.toLocaleString('en-US')} images takes ${steps.toLocaleString('en-US')} steps, about ${time} and ${(memory / 2 ** 30).toFixed(1)} GiB of memory${kept}`;
}
