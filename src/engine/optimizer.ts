/** Optimizers as graph fragments: AdamW, exponential moving average, gradient clipping and accumulation. */
import { S3aError } from '../errors.ts';
import { requireOneType } from './dtype.ts';
import { state, type Tensor, within } from './graph.ts';
import { add, cast, div, exp, maximum, mul, sqrt, square, sub } from './ops/elementwise.ts';
import { concat, reshape, split } from './ops/layout.ts';
import { sum } from './ops/reduce.ts';
import { after } from './recompute.ts';
import { sameShape, showShape, sizeOf } from './shape.ts';

/** Tensors by parameter name. */
export type Tensors = Record<string, Tensor>;

export interface AdamWOptions {
  /** Default 0.9 and 0.999. */
  beta1?: number;
  beta2?: number;
  /** Default 1e-8. */
  epsilon?: number;
  /** Decoupled weight decay, default 0.05, for the parameters that `decays` selects. */
  weightDecay?: number;
  /** Default: parameters of two or more dimensions (METHOD §3). */
  decays?: (name: string, parameter: Tensor) => boolean;
  /** Factor of the learning rate by parameter (layer-wise decay); default 1. */
  scale?: (name: string) => number;
  /** Prefix of the moments' names; default `adamw`. */
  prefix?: string;
  /** What is computed before the update of a large parameter, while its gradient is there in any case; default nothing. */
  waits?: (name: string) => readonly Tensor[];
}

/**
 * AdamW with decoupled decay (Loshchilov & Hutter 2019), as torch.optim.AdamW computes it.
 * @param parameters state tensors
 * @param gradients of the same shapes
 * @param learningRate float32 scalar, a runtime input
 * @param step float32 scalar, 1 at the first update, a runtime input
 * @throws S3aError GRADIENT when a parameter has no gradient of its shape
 * @returns the new parameters under their names and the new moments as `<prefix>.m.<name>` and `<prefix>.v.<name>`: sums
 * Σ β₁ⁱ·g and Σ β₂ⁱ·g² over the gradients so far, which are PyTorch's averages by 1 − β₁ and 1 − β₂
 */
export function adamW(
  parameters: Tensors,
  gradients: Tensors,
  learningRate: Tensor,
  step: Tensor,
  options: AdamWOptions = {},
): Tensors {
  requireEach('adamW', parameters, gradients, 'gradient');
  requireOneType('adamW', [learningRate, step]);
  return within('update', () => {
    const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.05, prefix = 'adamw' } = options;
    const decays = options.decays ?? ((_, parameter) => parameter.shape.length > 1);
    const kind = (name: string): Kind => ({
      scale: options.scale?.(name) ?? 1,
      decays: decays(name, parameters[name]),
    });
    // 1 − βᵗ loses its digits in float32 when β is near 1, so the scalars are computed in float64, as PyTorch does.
    const correction = (beta: number): Tensor => sub(1, exp(mul(cast(step, 'float64'), Math.log(beta))));
    const secondRoot = sqrt(div(correction(beta2), 1 - beta2));
    const root = div(mul(secondRoot, 1 - beta1), correction(beta1));
    const least = cast(mul(secondRoot, epsilon), 'float32');
    // Averages would take two passes more over the weights, and PyTorch's order of the divisions one: the factors of both
    // moments, their corrections and the rate meet in two scalars.
    const scalarsOf = remembered((scale: number) => {
      const rate = scale === 1 ? learningRate : mul(learningRate, scale);
      const stepSize = cast(mul(cast(rate, 'float64'), root), 'float32');
      return { stepSize, kept: sub(1, mul(rate, weightDecay)) };
    });
    const out: Tensors = {};
    for (const { names, of, split } of grouped(parameters, kind)) {
      const { scale, decays: decaying } = kind(names[0]);
      const { stepSize: size, kept } = scalarsOf(scale);
      const waits = names.length === 1 ? (options.waits?.(names[0]) ?? []) : [];
      const stepSize = waits.length > 0 ? after(size, waits) : size;
      const moments = (which: string): Tensors =>
        Object.fromEntries(names.map(name => [name, state(`${prefix}.${which}.${name}`, parameters[name].shape)]));
      const [w, g, m, v] = [of(parameters), of(gradients), of(moments('m')), of(moments('v'))];
      const nextM = add(mul(m, beta1), g);
      const nextV = add(mul(v, beta2), mul(g, g));
      const decayed = decaying ? mul(w, kept) : w;
      Object.assign(out, split(sub(decayed, mul(div(nextM, add(sqrt(nextV), least)), stepSize))));
      for (const [which, next] of Object.entries({ m: nextM, v: nextV })) {
        for (const [name, part] of Object.entries(split(next))) out[`${prefix}.${which}.${name}`] = part;
      }
    }
    return out;
  });
}

/**
 * Exponential moving average: d·average + (1 − d)·value for every name.
 * @param decay float32 scalar d, a runtime input
 * @throws S3aError GRADIENT when an average has no value of its shape
 */
export function ema(averages: Tensors, values: Tensors, decay: Tensor): Tensors {
  requireEach('ema', averages, values, 'value');
  return within('update', () => {
    const rest = sub(1, decay);
    return Object.assign(
      {},
      ...grouped(averages, () => ({})).map(({ of, split }) =>
        split(add(mul(of(averages), decay), mul(of(values), rest))),
      ),
    ) as Tensors;
  });
}

function requireEach(operator: string, tensors: Tensors, others: Tensors, what: string): void {
  for (const [name, { shape }] of Object.entries(tensors)) {
    const found = others[name]?.shape;
    if (found && sameShape(found, shape)) continue;
    const given = found ? `a ${what} of ${showShape(found)}` : `no ${what}`;
    throw new S3aError('GRADIENT', `${operator}: '${name}' of ${showShape(shape)} has ${given}`);
  }
}

/** What parameters must share to be updated as one: the factor of the rate, and whether they decay. */
interface Kind {
  scale: number;
  decays: boolean;
}

/** Parameters that are updated as one tensor. */
interface Group {
  readonly names: readonly string[];
  /** Their tensors as one. */
  of(tensors: Tensors): Tensor;
  /** One tensor as theirs. */
  split(joined: Tensor): Tensors;
}

/** A function that computes the value of a key once. */
function remembered<T>(make: (key: number) => T): (key: number) => T {
  const known = new Map<number, T>();
  return key => {
    const value = known.get(key) ?? make(key);
    known.set(key, value);
    return value;
  };
}

/** Elements up to which a node of ONNX Runtime takes longer to start than to compute. */
const SMALL = 16384;

/** Large parameters alone; small ones of one kind as one vector, since starting a node costs more than its arithmetic. */
function grouped(parameters: Tensors, kindOf: (name: string) => object): Group[] {
  const groups = new Map<string, string[]>();
  for (const [name, { shape }] of Object.entries(parameters)) {
    const key = sizeOf(shape) <= SMALL ? JSON.stringify(kindOf(name)) : name;
    groups.set(key, [...(groups.get(key) ?? []), name]);
  }
  return [...groups.values()].map(names => {
    if (names.length === 1) return { names, of: tensors => tensors[names[0]], split: one => ({ [names[0]]: one }) };
    const shapes = names.map(name => parameters[name].shape);
    return {
      names,
      of: tensors =>
        concat(
          names.map(name => reshape(tensors[name], [-1])),
          0,
        ),
      split: joined => {
        const parts = split(joined, 0, shapes.map(sizeOf));
        return Object.fromEntries(names.map((name, i) => [name, reshape(parts[i], shapes[i])]));
      },
    };
  });
}

/** Sums of squares, scalars by name; small gradients share one. */
export function squareSums(gradients: Tensors): Tensors {
  return Object.fromEntries(
    grouped(gradients, () => ({})).flatMap(({ names, of }) => {
      const squares = sum(square(of(gradients)));
      return names.map(name => [name, squares]);
    }),
  );
}

/** The Euclidean norm of all gradients together, a scalar, from `squareSums`. */
export function gradientNorm(gradients: Tensors, squares = squareSums(gradients)): Tensor {
  return sqrt([...new Set(Object.values(squares))].reduce((a, b) => add(a, b)));
}

/** Gradients scaled so that their norm is at most `limit`, as torch.nn.utils.clip_grad_norm_ does. */
export function clipGradients(gradients: Tensors, limit: number): { gradients: Tensors; norm: Tensor } {
  const norm = gradientNorm(gradients);
  const factor = div(limit, maximum(add(norm, 1e-6), limit));
  return {
    gradients: Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, mul(g, factor)])),
    norm,
  };
}

/**
 * Gradient accumulation: adds gradients to resident sums.
 * @param keep float32 scalar, a runtime input: 0 starts a new sum, 1 goes on
 * @returns the new sums under `<prefix>.<name>`, to be outputs of the same names
 */
export function accumulate(gradients: Tensors, keep: Tensor, prefix = 'accumulated'): Tensors {
  return Object.fromEntries(
    Object.entries(gradients).map(([name, g]) => {
      const held = state(`${prefix}.${name}`, g.shape);
      return [`${prefix}.${name}`, add(mul(held, keep), g)];
    }),
  );
}
