/** Dynamic loss scaling as a graph fragment (Micikevicius et al. 2018), with the rules of torch.amp.GradScaler. */
import { program, state, type Tensor, within } from './graph.ts';
import { add, and, div, greater, greaterOrEqual, minimum, mul, where } from './ops/elementwise.ts';
import type { Tensors } from './optimizer.ts';

export interface LossScaleOptions {
  /** Factor of the scale after `interval` updates in a row; default 2. */
  growth?: number;
  /** Factor of the scale when a gradient is not finite; default 0.5. */
  backoff?: number;
  /** Default 2000. */
  interval?: number;
  /** Prefix of the states' names; default `scaler`. */
  prefix?: string;
}

export interface LossScale {
  /** The factor of the loss, a scalar. */
  readonly scale: Tensor;
  /** The number of the update that comes, from 1, as `adamW` takes it: updates that were skipped do not count. */
  readonly step: Tensor;
  /** Loss times scale, for `gradient`. */
  scaled(loss: Tensor): Tensor;
  /** Gradients of the scaled loss, or sums of them, without the scale. */
  unscaled(gradients: Tensors): Tensors;
  /**
   * The updates where all gradients are finite; elsewhere every state keeps its value, bit by bit, and the scale falls.
   * @param updates next values by the names of their states
   * @param norm of all gradients together, a scalar: it is finite where they are
   * @param due bool, false where nothing is to change for now, the scale included (accumulation); default always
   * @returns the updates and the scale's own states, to be outputs of the same names, and whether gradients were finite
   */
  guarded(updates: Tensors, norm: Tensor, due?: Tensor): { updates: Tensors; finite: Tensor };
}

/** States of a loss scale at its start; without them the scale is 0 and nothing is learnt. */
export function lossScaleStart(initial = 65536, prefix = 'scaler'): Record<string, Float32Array> {
  const values = { scale: initial, row: 0, updates: 0 };
  return Object.fromEntries(Object.entries(values).map(([name, v]) => [`${prefix}.${name}`, Float32Array.of(v)]));
}

/**
 * Dynamic loss scaling: the loss is multiplied by a scale, gradients are divided by it, an update with a gradient that is not
 * finite is skipped and lowers the scale, and a row of updates raises it. The scale is three resident scalars, `<prefix>.scale`,
 * `.row` (updates since it last changed) and `.updates`, which begin as `lossScaleStart` says.
 * @example
 * const scaler = lossScaling();
 * const [dw] = gradient(scaler.scaled(loss), [w]);
 * const gradients = scaler.unscaled({ w: dw });
 * const next = adamW({ w }, gradients, rate, scaler.step);
 * const { updates } = scaler.guarded(next, gradientNorm(gradients));
 * program({ loss, ...updates });
 */
export function lossScaling(options: LossScaleOptions = {}): LossScale {
  const { growth = 2, backoff = 0.5, interval = 2000, prefix = 'scaler' } = options;
  const [scale, row, count] = ['scale', 'row', 'updates'].map(name => state(`${prefix}.${name}`, []));
  const step = within('update', () => add(count, 1));
  return {
    scale,
    step,
    scaled: loss => mul(loss, scale),
    unscaled: gradients =>
      within('update', () => {
        const inverse = div(1, scale);
        return Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, mul(g, inverse)]));
      }),
    guarded: (updates, norm, due) =>
      within('update', () => {
        // Neither infinity nor what is no number is below it.
        const finite = greater(3.4e38, norm);
        const now = due ? and(due, finite) : finite;
        const longer = add(row, 1);
        const full = greaterOrEqual(longer, interval);
        // Twice the largest power of two would be infinite.
        const grown = where(full, minimum(mul(scale, growth), 2 ** 127), scale);
        const next = {
          scale: where(finite, grown, mul(scale, backoff)),
          row: where(finite, where(full, 0, longer), 0),
          updates: where(finite, step, count),
        };
        const held = program(updates).inputs;
        const kept = { scale, row, updates: count };
        const own = Object.entries(next).map(([name, value]) => [
          `${prefix}.${name}`,
          due ? where(due, value, kept[name as keyof typeof kept]) : value,
        ]);
        const guarded = Object.entries(updates).map(([name, value]) => [name, where(now, value, held.get(name)!)]);
        return { updates: Object.fromEntries([...guarded, ...own]) as Tensors, finite };
      }),
  };
}
