/**
 * Updates of AdamW, with the average that follows them, taken out of a program: a kernel makes each in one pass over the memory
 * (update-kernel.ts), where ONNX Runtime makes a pass an operator. The bits are the same.
 *
 * Nothing marks such an update. The graph says what is computed, and what has the form that `adamW` and `ema` trace is found in
 * it, weight by weight; everything else stays as it is.
 */
import { type OperatorName, type Program, reached, type Tensor } from './graph.ts';
import { type Shape, sameShape, sizeOf } from './shape.ts';

/** The scalars of an update, as the graph computes them. */
export interface UpdateScalars {
  readonly beta1: Tensor;
  readonly beta2: Tensor;
  readonly least: Tensor;
  readonly stepSize: Tensor;
  /** What decay leaves of the weight; nothing decays without it. */
  readonly kept?: Tensor;
  readonly averageKept?: Tensor;
  readonly averageNew?: Tensor;
}

/** One weight's update: the states that it changes, and what it reads besides them. */
export interface FusedUpdate {
  readonly weight: string;
  readonly first: string;
  readonly second: string;
  readonly average?: string;
  readonly gradient: Tensor;
  readonly scalars: UpdateScalars;
  /** A condition without which nothing changes. */
  readonly applied?: Tensor;
}

/** A program without its updates: what they read are outputs of it whose names begin with a colon. */
export interface FusedProgram {
  readonly program: Program;
  readonly updates: readonly FusedUpdate[];
}

/** Largest weight, in elements: five arrays of it fit into one memory of WebAssembly. */
const LARGEST = 2 ** 27;

/** The output that holds the gradient of a weight. */
export function gradientName(weight: string): string {
  return `:gradient.${weight}`;
}

/** Takes out of a program all updates that have the known form. */
export function fuseUpdates(program: Program): FusedProgram {
  const updates: FusedUpdate[] = [];
  const outputs = new Map(program.outputs);
  for (const [name, next] of program.outputs) {
    const update = adamWUpdate(program, name, next);
    if (!update) continue;
    updates.push(update);
    for (const state of [update.weight, update.first, update.second]) outputs.delete(state);
  }
  if (updates.length === 0) return { program, updates };
  const stretches = updates.map(({ weight }) => stretchOf(program.outputs.get(weight)!));
  for (const [name, next] of [...outputs]) {
    const found = averageUpdate(name, next);
    if (!found) continue;
    const of = stretchOf(found.value);
    const i = stretches.findIndex(({ core, offset }) => core === of.core && offset === of.offset);
    if (i < 0 || updates[i].average !== undefined || updates[i].applied !== found.applied) continue;
    updates[i] = { ...updates[i], average: name, scalars: { ...updates[i].scalars, ...found.scalars } };
    outputs.delete(name);
  }
  for (const { weight, gradient } of updates) outputs.set(gradientName(weight), gradient);
  const read = new Set(
    updates.flatMap(({ scalars, applied }) => [...valuesOf(scalars), ...(applied ? [applied] : [])]),
  );
  for (const tensor of read) outputs.set(`:scalar.${outputs.size}`, tensor);
  return { program: reached(outputs), updates };
}

/** A stretch of a flat tensor: small weights are updated as one vector and cut apart. */
interface Stretch {
  readonly core: Tensor;
  readonly offset: number;
  readonly size: number;
  /** With a condition, the value where it does not hold. */
  readonly applied?: Tensor;
  readonly held?: Tensor;
}

/** What an output is a stretch of. */
function stretchOf(tensor: Tensor): Stretch {
  const [applied, now, held] = operands(tensor, 'Where') ?? [];
  const flat = withoutReshape(now ?? tensor);
  const size = sizeOf(tensor.shape);
  const { source } = flat;
  if (source.kind === 'node' && source.node.operator === 'Slice') {
    const [whole] = source.node.inputs;
    const { starts } = source.node.attributes as { starts: readonly number[] };
    if (whole.shape.length === 1) return { core: whole, offset: starts[0], size, applied, held };
  }
  return { core: flat, offset: 0, size, applied, held };
}

/** The tensor that is a stretch of what several were joined to, preferably of a shape; undefined when none is. */
function joinedAt(joined: Tensor, { offset, size }: Stretch, shape?: Shape): Tensor | undefined {
  if (sizeOf(joined.shape) === size) return withoutReshape(joined, shape);
  let start = 0;
  for (const part of operands(joined, 'Concat') ?? []) {
    if (start === offset && sizeOf(part.shape) === size) return withoutReshape(part, shape);
    start += sizeOf(part.shape);
  }
  return undefined;
}

/** The update by which an output follows its state, if it is AdamW's as `adamW` traces it. */
function adamWUpdate({ inputs, outputs }: Program, weight: string, next: Tensor): FusedUpdate | undefined {
  if (!inputs.has(weight) || next.dtype !== 'float32' || sizeOf(next.shape) > LARGEST) return undefined;
  const stretch = stretchOf(next);
  const [decayed, change] = operands(stretch.core, 'Sub') ?? [];
  const [ratio, stepSize] = operands(change, 'Mul') ?? [];
  const [nextM, root] = operands(ratio, 'Div') ?? [];
  const [secondRoot, least] = operands(root, 'Add') ?? [];
  const [nextV] = operands(secondRoot, 'Sqrt') ?? [];
  const [keptM, gradients] = operands(nextM, 'Add') ?? [];
  const [keptV, squares] = operands(nextV, 'Add') ?? [];
  const [m, beta1] = operands(keptM, 'Mul') ?? [];
  const [v, beta2] = operands(keptV, 'Mul') ?? [];
  if (!decayed || !gradients || !m || !v) return undefined;
  if (!operands(squares, 'Mul')?.every(factor => factor === gradients)) return undefined;
  const [w, kept] = operands(decayed, 'Mul') ?? [decayed];
  const scalars = { beta1, beta2, least, stepSize, kept } as UpdateScalars;
  if (Object.values(scalars).some(x => x && sizeOf((x as Tensor).shape) !== 1)) return undefined;

  const stateOf = (joined: Tensor): string | undefined => stateName(joinedAt(joined, stretch));
  const follows = (name: string | undefined, core: Tensor): boolean => {
    const own = name === undefined ? undefined : outputs.get(name);
    if (!own) return false;
    const found = stretchOf(own);
    const heldSo = !found.held || stateName(found.held) === name;
    return found.core === core && found.offset === stretch.offset && found.applied === stretch.applied && heldSo;
  };
  const [first, second] = [stateOf(m), stateOf(v)];
  const gradient = joinedAt(gradients, stretch, next.shape);
  if (!gradient || stateOf(w) !== weight) return undefined;
  if (!follows(weight, stretch.core) || !follows(first, nextM) || !follows(second, nextV)) return undefined;
  return { weight, first: first!, second: second!, gradient, scalars, applied: stretch.applied };
}

interface AverageUpdate {
  readonly value: Tensor;
  readonly scalars: Pick<UpdateScalars, 'averageKept' | 'averageNew'>;
  readonly applied?: Tensor;
}

/** The update by which an output follows its state, if it is an average as `ema` traces it. */
function averageUpdate(name: string, next: Tensor): AverageUpdate | undefined {
  const stretch = stretchOf(next);
  const [old, added] = operands(stretch.core, 'Add') ?? [];
  const [averages, averageKept] = operands(old, 'Mul') ?? [];
  const [values, averageNew] = operands(added, 'Mul') ?? [];
  if (!averages || !values || [averageKept, averageNew].some(x => sizeOf(x.shape) !== 1)) return undefined;
  if (stateName(joinedAt(averages, stretch)) !== name) return undefined;
  if (stretch.held && stateName(stretch.held) !== name) return undefined;
  const value = joinedAt(values, stretch);
  return value && { value, scalars: { averageKept, averageNew }, applied: stretch.applied };
}

/** The operands of a tensor that this operator makes. */
export function operands(tensor: Tensor | undefined, operator: OperatorName): readonly Tensor[] | undefined {
  const source = tensor?.source;
  return source?.kind === 'node' && source.node.operator === operator ? source.node.inputs : undefined;
}

/** What a tensor was before it was reshaped, though not further back than to a shape that is asked for. */
export function withoutReshape(tensor: Tensor, shape?: Shape): Tensor {
  const [inner] = operands(tensor, 'Reshape') ?? [];
  return inner && !(shape && sameShape(tensor.shape, shape)) ? withoutReshape(inner, shape) : tensor;
}

function stateName(tensor: Tensor | undefined): string | undefined {
  return tensor?.source.kind === 'input' && tensor.source.state ? tensor.source.name : undefined;
}

/** Those that are no part of the program. */
function valuesOf(scalars: UpdateScalars): Tensor[] {
  return Object.values(scalars).filter((x): x is Tensor => x !== undefined && x.source.kind !== 'constant');
}
