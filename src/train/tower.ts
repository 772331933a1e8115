/** The image tower as a tuning plan has it: shared frozen weights, factors beside them, fewer tokens, and cut in two. */
import type { ClipConfig } from '../clip/towers/config.ts';
import { visionTower } from '../clip/towers/vision.ts';
import {
  autocast,
  gather,
  input,
  l2Normalize,
  type Program,
  program,
  reshape,
  type Shape,
  state,
  type Tensor,
  type Tensors,
} from '../engine/index.ts';
import { cutBetween, rewrite } from '../engine/rewrite.ts';
import { S3aError } from '../errors.ts';
import { withLora } from './lora.ts';
import type { Precision } from './precision.ts';
import type { TunePlan } from './tune.ts';

export type Role = 'student' | 'teacher';

export interface TunedTower {
  /** What is trained, by state name: `student.*` or `teacher.*`. */
  trained(role: Role): Tensors;
  /**
   * Unit embeddings [B, D] of a view by a role's weights.
   * @param view `weak` or `strong`: the name of the input, or with kept activations the beginning of the names of the inputs
   * @param tokens int32 [B·K] rows of the tokens that are seen, of all B·T; default all of them are
   */
  embed(role: Role, view: string, tokens?: Tensor): Tensor;
}

/**
 * Both roles' towers for a batch of B rows, with `amp` in mixed precision. States are `frozen.*`, which the roles share, and `student.*` and `teacher.*`.
 */
export function tunedTower(
  config: ClipConfig,
  plan: TunePlan,
  batch: number,
  precision: Precision = 'fp32',
): TunedTower {
  const narrowed = (tower: Tensor): Tensor => (precision === 'amp' ? autocast([tower])[0] : tower);
  const held = new Map<string, Tensor>();
  const hold = (name: string, shape: Shape): Tensor => {
    const known = held.get(name) ?? state(name, shape);
    held.set(name, known);
    return known;
  };
  const frozen = new Set(plan.frozen.map(({ name }) => name));
  const nameOf = (role: Role, name: string): string => `${frozen.has(name) ? 'frozen' : role}.${name}`;
  const shapes = new Map(plan.trained.map(({ name, shape }) => [name, shape]));
  const trained = (role: Role): Tensors =>
    Object.fromEntries(plan.trained.map(({ name, shape }) => [`${role}.${name}`, hold(`${role}.${name}`, shape)]));

  function traced(role: Role, pixels: Tensor, tokens: Tensor | undefined): Tensor {
    const choose = (all: Tensor): Tensor => (tokens ? chosen(all, tokens) : all);
    const tower = visionTower(config, (name, shape) => hold(nameOf(role, name), shape), pixels, choose);
    if (plan.targets.length === 0) return tower;
    const factor = (name: string): Tensor => hold(`${role}.${name}`, shapes.get(name)!);
    return withLora(tower, plan.targets, plan.scale, name => held.get(`frozen.${name}`)!, factor);
  }

  return {
    trained,
    embed(role, view, tokens) {
      const pixels = input(view, 'float32', pixelShape(config, batch));
      const tower = traced(role, pixels, tokens);
      if (plan.cachedViews === 0) return l2Normalize(narrowed(tower));
      const cut = cutOf(tower, pixels, Object.values(trained(role)));
      const kept = new Map(cut.map((tensor, i) => [tensor, input(`${view}.${i}`, 'float32', tensor.shape)]));
      return l2Normalize(narrowed(rewrite([tower], kept)[0]));
    },
  };
}

/** The frozen part: `pixels` [B, 3, S, S] → `cut.0`, …, which hold an equal number of values an image, image by image. */
export function frozenPart(config: ClipConfig, plan: TunePlan, batch: number): Program {
  const states = new Map<string, Tensor>();
  const frozen = new Set(plan.frozen.map(({ name }) => name));
  const pixels = input('pixels', 'float32', pixelShape(config, batch));
  const params = (name: string, shape: Shape): Tensor => {
    const tensor = state(`frozen.${name}`, shape);
    states.set(name, tensor);
    return tensor;
  };
  const tower = visionTower(config, params, pixels);
  const later = [...states].filter(([name]) => !frozen.has(name)).map(([, tensor]) => tensor);
  return program(Object.fromEntries(cutOf(tower, pixels, later).map((tensor, i) => [`cut.${i}`, tensor])));
}

/** The teacher's trained part: `cut.0`, … → `embedding` [B, D]. */
export function teacherPart(config: ClipConfig, plan: TunePlan, batch: number): Program {
  return program({ embedding: tunedTower(config, plan, batch).embed('teacher', 'cut') });
}

/** Where the frozen part ends. */
function cutOf(tower: Tensor, pixels: Tensor, later: readonly Tensor[]): Tensor[] {
  const cut = cutBetween(tower, pixels, new Set(later));
  const batch = pixels.shape[0];
  const odd = cut.find(({ shape }) => shape[0] % batch !== 0);
  if (odd) throw new S3aError('TUNE', `the activations [${odd.shape}] are not a part an image for ${batch} images`);
  return cut;
}

/** Some of the tokens of every image: [B, T, W] → [B, K, W]. */
function chosen(all: Tensor, tokens: Tensor): Tensor {
  const [batch, count, width] = all.shape;
  return reshape(gather(reshape(all, [batch * count, width]), tokens), [batch, -1, width]);
}

function pixelShape({ vision_config: { image_size: size } }: ClipConfig, batch: number): Shape {
  return [batch, 3, size, size];
}
