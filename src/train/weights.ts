/** The weights of a training between what is saved of a model and the states of a step. */
import { mergeLora, startFactors } from './lora.ts';
import type { Role } from './tower.ts';
import type { TunePlan } from './tune.ts';

/** States that a step begins with, `frozen.*`, `student.*` and `teacher.*`; moments start at zero. */
export function startWeights(
  weights: Readonly<Record<string, Float32Array>>,
  { frozen, trained, targets, rank }: TunePlan,
  seed: number,
): Record<string, Float32Array> {
  const factors = startFactors(targets, rank, seed);
  const states: Record<string, Float32Array> = {};
  for (const { name } of frozen) states[`frozen.${name}`] = weights[name];
  for (const { name } of trained) {
    for (const role of ['student', 'teacher']) states[`${role}.${name}`] = factors[name] ?? weights[name];
  }
  return states;
}

/**
 * A role's whole image tower by transformers' names: what is frozen as it was, the very arrays, and factors merged.
 * @param weights that the training started from
 * @param states among them all that is trained of this role
 */
export function roleWeights(
  weights: Readonly<Record<string, Float32Array>>,
  { frozen, trained, targets, rank, scale }: TunePlan,
  states: Readonly<Record<string, unknown>>,
  role: Role,
): Record<string, Float32Array> {
  const stays = Object.fromEntries(frozen.map(({ name }) => [name, weights[name]]));
  const moved = Object.fromEntries(trained.map(({ name }) => [name, states[`${role}.${name}`] as Float32Array]));
  return targets.length > 0 ? mergeLora(stays, targets, moved, rank, scale) : { ...stays, ...moved };
}
