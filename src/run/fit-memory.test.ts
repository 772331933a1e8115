/** The peaks of a fit from sizes, against sums by hand. */
import { expect, it } from 'vitest';
import { clipParameters } from '../clip/checkpoint/checkpoint.ts';
import { parseClipConfig } from '../clip/towers/config.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { sizeOf } from '../engine/index.ts';
import { isLean, stepProgram } from '../train/step.ts';
import { type TuneSettings, tunePlan } from '../train/tune.ts';
import { type FitSizes, fitMemory } from './fit-memory.ts';

const layers = { hidden_size: 128, intermediate_size: 512, num_attention_heads: 2, num_hidden_layers: 8 };
const config = parseClipConfig({
  projection_dim: 64,
  vision_config: { ...layers, image_size: 32, patch_size: 8 },
  text_config: layers,
});
const bytes = (of: readonly { shape: readonly number[] }[]): number =>
  of.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
const tower = bytes(visionParameters(config));

function peaksOf(
  settings: TuneSettings & { gradCheckpointing?: boolean; batch?: number } = {},
  changes: Partial<FitSizes> = {},
) {
  const plan = tunePlan(config, settings);
  const step = { config, plan, batch: 8, names: 10, logitScale: 100, ...settings };
  const sizes = {
    process: 1e8,
    images: 100,
    names: 10,
    rows: 8,
    embedBatch: 8,
    device: 'cpu' as const,
    calls: 1,
    workers: 2,
    decoded: 5e6,
    renews: false,
  };
  const peaks = fitMemory({ config, plan, graph: stepProgram(step), lean: isLean(step), ...sizes, ...changes });
  return Object.fromEntries(peaks.map(peak => [peak.stage, peak]));
}

it('adds up what each stage holds', () => {
  const { embed, prototypes, train } = peaksOf();
  for (const { bytes: sum, parts } of [embed, prototypes, train]) {
    expect(Object.values(parts).reduce((a: number, b: number) => a + b, 0)).toBe(sum);
    expect(parts.process).toBe(1e8);
  }
  expect(embed.parts.weights).toBe(tower);
  expect(embed.parts.left).toBe(0);
  // Two sessions for texts of two lengths, without the positions that are longer than they.
  const text = bytes(clipParameters(config)) - tower - 4;
  expect(prototypes.parts.weights).toBeGreaterThan(1.8 * text);
  expect(prototypes.parts.weights).toBeLessThanOrEqual(2 * text);
  // Student, teacher, two moments and the gradient; the prototypes of ten names.
  expect(train.parts.weights).toBeGreaterThan(5 * tower);
  expect(train.parts.weights).toBeLessThan(5.1 * tower);
  expect(train.parts.left).toBeGreaterThan(0);
  // A weak and a strong view of a batch for each thread and two more, and the decoded images.
  expect(train.parts.images).toBe(4 * 2 * 8 * 4 * 3 * 32 * 32 + 5e6);
});

it('needs less in the steps with activations that are computed again, and more with renewals', () => {
  const full = peaksOf().train;
  const large = peaksOf({ batch: 64 }).train;
  const again = peaksOf({ batch: 64, gradCheckpointing: true }).train;
  expect(again.parts.values).toBeLessThan(0.5 * large.parts.values);
  const renewed = peaksOf({}, { renews: true }).train;
  expect(renewed.parts.weights).toBe(full.parts.weights + 2 * tower);
});

it('is, with kept activations, most while they are computed, or when the networks are saved', () => {
  const { train } = peaksOf({ tune: 'head' });
  const all = bytes(clipParameters(config));
  expect(train.parts.weights).toBeGreaterThan(2.5 * tower);
  expect(train.parts.weights).toBeLessThan(Math.max(3 * tower, all) + 1e5);
});

it('has what is left of the frozen part beside the steps of the last blocks', () => {
  const { train } = peaksOf({ tune: 'last-blocks', batch: 64 });
  const { left } = peaksOf({ batch: 64 }).train.parts;
  // All but the last three of eight blocks, and the embeddings.
  expect(train.parts.left).toBeGreaterThan(left + 0.7 * 0.55 * tower);
  expect(train.parts.left).toBeLessThan(left + 0.7 * 0.75 * tower);
});

it('has constants where few images are embedded at once', () => {
  expect(peaksOf({}, { embedBatch: 4 }).embed.parts.weights).toBe(3 * tower);
});

it('counts the stacks of calls of several steps, and what a card holds', () => {
  const [single, several] = [peaksOf({ batch: 64 }).train, peaksOf({ batch: 64 }, { calls: 6 }).train];
  // Two views, labels, which rows are there, and six scalars: one stack is used and one is made.
  const fed = 4 * (2 * 64 * 3 * 32 * 32 + 2 * 64 + 6);
  expect(several.parts.images).toBe(single.parts.images + 2 * 6 * fed);
  expect(single.card).toBeUndefined();
  const cuda = peaksOf({ batch: 64 }, { calls: 6, device: 'cuda' }).train;
  // On the host the states, once; on the card three times, but for the prototypes, with a stack and the values.
  expect(cuda.parts.weights).toBeGreaterThan(4 * tower);
  expect(cuda.parts.weights).toBeLessThan(4.1 * tower);
  expect(cuda.card).toBeGreaterThan(12 * tower + 6 * fed);
  expect(cuda.card).toBeLessThan(12.1 * tower + 6 * fed + 1.2 * single.parts.values + 5 * tower);
  const webgpu = peaksOf({ batch: 64 }, { device: 'webgpu' }).train;
  expect(webgpu.card).toBeLessThan(cuda.card! - 4 * tower);
});
