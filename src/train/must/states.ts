/** The states of a MUST training: which there are, what they start as, and the networks among them. */
import type { ClipConfig } from '../../clip/towers/config.ts';
import type { Parameter } from '../../clip/towers/parameters.ts';
import { visionParameters } from '../../clip/towers/vision.ts';
import { type Shape, state, type Tensors } from '../../engine/index.ts';
import type { Role } from '../tower.ts';
import { MOVING_FROM } from './losses.ts';
import type { MustData, MustMethodSettings } from './settings.ts';
import { maskedParameters, startMasked } from './tower.ts';

/** The name of the trained classifier among a role's weights. */
export const HEAD = 'must.classifier';
/** log p̄, where the mean prediction is a moving average. */
export const AVERAGE = 'must.log_mean_prediction';

const ROLES: readonly Role[] = ['student', 'teacher'];

/** What of a training its states depend on. */
export interface MustStates {
  config: ClipConfig;
  /** Names V of the vocabulary. */
  names: number;
  /** Whether the classifier, which starts as the text prototypes, is trained. */
  trainHead: boolean;
}

/** Shapes of everything that training changes, by state name. */
export function mustShapes(of: MustStates): Record<string, Shape> {
  const named = (prefix: string, parameters: readonly Parameter[]): [string, Shape][] =>
    parameters.map(({ name, shape }) => [`${prefix}.${name}`, shape]);
  const student = roleParameters(of, 'student');
  return Object.fromEntries([
    ...['student', 'adamw.m.student', 'adamw.v.student'].flatMap(prefix => named(prefix, student)),
    ...named('teacher', roleParameters(of, 'teacher')),
    ...(of.names >= MOVING_FROM ? ([[AVERAGE, [of.names]]] as const) : []),
  ]);
}

/** The weights of a role as states, `student.*` or `teacher.*`. */
export function roleStates(of: MustStates, role: Role): Tensors {
  return Object.fromEntries(
    roleParameters(of, role).map(({ name, shape }) => [`${role}.${name}`, state(`${role}.${name}`, shape)]),
  );
}

/** The weights of a role. The teacher never sees a masked view, so it has no token and no decoder. */
function roleParameters({ config, names, trainHead }: MustStates, role: Role): Parameter[] {
  return [
    ...visionParameters(config),
    ...(role === 'student' ? maskedParameters(config) : []),
    ...(trainHead ? [{ name: HEAD, shape: [names, config.projection_dim] }] : []),
  ];
}

/** Student and teacher as they start; moments start at zero. */
export function startStates(
  { config, weights, prototypes }: MustData,
  { seed, trainHead }: Pick<MustMethodSettings, 'seed' | 'trainHead'>,
): Record<string, Float32Array> {
  const start: Record<string, Float32Array> = {};
  for (const role of ROLES) {
    for (const { name } of visionParameters(config)) start[`${role}.${name}`] = weights[name];
    if (trainHead) start[`${role}.${HEAD}`] = prototypes;
  }
  for (const [name, values] of Object.entries(startMasked(config, seed))) start[`student.${name}`] = values;
  return start;
}

/** Names of the states that make up both networks, without what serves training alone. */
export function networkNames({ config, trainHead }: MustStates): string[] {
  const names = [...visionParameters(config).map(({ name }) => name), ...(trainHead ? [HEAD] : [])];
  return ROLES.flatMap(role => names.map(name => `${role}.${name}`));
}

export interface MustNetworks {
  /** Image-tower weights by transformers' names. */
  readonly student: Record<string, Float32Array>;
  readonly teacher: Record<string, Float32Array>;
  /** [V, D] what the unit embeddings are compared with: the trained classifiers, whose rows are no unit vectors any more. */
  readonly heads: { readonly student: Float32Array; readonly teacher: Float32Array };
}

/** Both networks from the states of `networkNames`. */
export function networksOf(
  states: Readonly<Record<string, Float32Array>>,
  { config, prototypes }: Pick<MustData, 'config' | 'prototypes'>,
): MustNetworks {
  const names = visionParameters(config).map(({ name }) => name);
  const tower = (role: Role): Record<string, Float32Array> =>
    Object.fromEntries(names.map(name => [name, states[`${role}.${name}`]]));
  const head = (role: Role): Float32Array => states[`${role}.${HEAD}`] ?? prototypes;
  return {
    student: tower('student'),
    teacher: tower('teacher'),
    heads: { student: head('student'), teacher: head('teacher') },
  };
}
