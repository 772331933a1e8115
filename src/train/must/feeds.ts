/** Between loader and graph: a batch of two views as the inputs of a step of MUST. */
import type { TensorData } from '../../engine/index.ts';
import type { Batch } from '../../images/batch.ts';
import type { Rates } from '../schedule.ts';
import type { Standing } from '../standing.ts';
import { MOVING_FROM } from './losses.ts';
import { drawMasks } from './masks.ts';
import type { MustPlan } from './plan.ts';

/**
 * Inputs of the graph of `mustProgram`; rows of images that could not be read are zeros, and not present.
 * @param at where the training stands before the step
 */
export function mustFeeds(
  { indices, views }: Batch<'weak' | 'strong'>,
  rates: Rates,
  { step, epoch, stepInEpoch }: Standing,
  { settings, grid, steps: { batch: rows }, states: { config, names } }: MustPlan,
): Record<string, TensorData> {
  const { seed, threshold, fairnessWeight, reconstructionWeight, alignmentWeight } = settings;
  const begins: Record<string, number> = names >= MOVING_FROM ? { begins: stepInEpoch === 0 ? 1 : 0 } : {};
  const weights = { threshold, fairnessWeight, reconstructionWeight, alignmentWeight };
  const scalars = { ...rates, ...weights, ...begins, step: step + 1 };
  const values = rows * 3 * config.vision_config.image_size ** 2;
  return {
    weak: filled(views.weak, values),
    strong: filled(views.strong, values),
    present: new Float32Array(rows).fill(1, 0, indices.length),
    mask: drawMasks(grid, indices, rows, { seed, epoch }),
    ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, Float32Array.of(value)])),
  };
}

function filled(view: Float32Array, values: number): Float32Array {
  if (view.length === values) return view;
  const all = new Float32Array(values);
  all.set(view);
  return all;
}
