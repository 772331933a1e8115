/** The weights of a training between what is saved of a model and the states of a step. */
import { mergeLora, startFactors } from './lora.ts';
import { startOf, type TrainData, type Weights } from './settings.ts';
import type { Role } from './tower.ts';
import type { TunePlan } from './tune.ts';

/** The weights that a training starts from, held no longer than they are wanted. */
export interface HeldWeights {
  /** Reads them, where they are not held. */
  read(): Promise<Weights>;
  letGo(): void;
}

/** The weights of a training, not read yet. */
export function holdWeights(data: Pick<TrainData, 'weights'>): HeldWeights {
  let held: Weights | undefined;
  return {
    async read() {
      held ??= await startOf(data);
      return held;
    },
    letGo() {
      held = undefined;
    },
  };
}

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

/** As `roleWeights`; what a training starts from is read where some of it is frozen. */
export async function tunedWeights(
  data: Pick<TrainData, 'weights'>,
  plan: TunePlan,
  states: Readonly<Record<string, unknown>>,
  role: Role,
): Promise<Record<string, Float32Array>> {
  return roleWeights(plan.frozen.length > 0 ? await startOf(data) : {}, plan, states, role);
}

/** Names of the states that are trained of a role. */
export function trainedNames({ trained }: TunePlan, role: Role): string[] {
  return trained.map(({ name }) => `${role}.${name}`);
}
