/**
 * Matrices whose rows lie a multiple of 4,096 bytes apart are made a few columns wider for the CPU.
 *
 * A product reads some rows of its first matrix side by side. When they are so far apart, all of them fall into the same few
 * places of the processor's first cache and push each other out: the second product of a ViT-B's MLP, whose rows are 3,072 numbers
 * long, runs at two thirds of the rate of one with 3,088. So the hidden axis gets 16 columns more, in weights, moments and
 * averages too. What is added is zero and stays zero, so all values are those of the narrow program, to the bit.
 */
import { type Axis, axisGroups, isElementwise, outputShape } from './axes.ts';
import { type FusedProgram, gradientName, type UpdateScalars } from './fused-updates.ts';
import {
  applyAgain,
  type Node,
  type OperatorName,
  type Operators,
  type Program,
  reached,
  state,
  type Tensor,
} from './graph.ts';
import { rewrite } from './rewrite.ts';
import { type Shape, sameShape, sizeOf } from './shape.ts';

/** Distances at which addresses share a place in the cache, and what a row gets more, in elements of float32. */
const [ALIASING, MORE] = [1024, 16];

/** Axes that are one throughout a program, by their tensors. */
type Joined = ReadonlyMap<Tensor, number>;

/** A program with wider states. */
export interface WideProgram extends FusedProgram {
  /** Shapes of the states that are wider than traced, those that only updates know among them. */
  readonly shapes: ReadonlyMap<string, Shape>;
}

/** Widens what can be widened. */
export function widenRows(fused: FusedProgram): WideProgram {
  const links = linksOf(fused);
  const wide = new Map<Tensor, Set<number>>();
  for (const { operator, attributes, inputs } of fused.program.nodes) {
    const [rows] = inputs;
    if (operator !== 'Gemm' || (attributes as Operators['Gemm']).transA) continue;
    if (rows.dtype !== 'float32' || rows.shape[1] % ALIASING !== 0 || wide.get(rows)?.has(1)) continue;
    const joined = joinedWith({ tensor: rows, axis: 1 }, links);
    if (!joined || !staysZero(fused.program, joined)) continue;
    for (const [tensor, axis] of joined) wide.set(tensor, new Set([...(wide.get(tensor) ?? []), axis]));
  }
  return widened(fused, wide);
}

/** What a tensor has to do with others: the nodes that read it, and other tensors that have its shape because of a state. */
interface Links {
  readersOf(tensor: Tensor): readonly Node[];
  /** Undefined when the tensor is a result, whose shape is the caller's. */
  partnersOf(tensor: Tensor): readonly Tensor[] | undefined;
}

function linksOf({ program, updates }: FusedProgram): Links {
  const readers = new Map<Tensor, Node[]>();
  for (const node of program.nodes) {
    for (const x of new Set(node.inputs)) readers.set(x, [...(readers.get(x) ?? []), node]);
  }
  const families = new Map<string, string[]>();
  for (const { weight, average } of updates) {
    const family = [weight, gradientName(weight), ...(average === undefined ? [] : [average])];
    for (const name of family) families.set(name, family);
  }
  const names = new Map<Tensor, string[]>();
  for (const [name, tensor] of [...program.inputs, ...program.outputs]) {
    names.set(tensor, [...(names.get(tensor) ?? []), name]);
  }
  return {
    readersOf: tensor => readers.get(tensor) ?? [],
    partnersOf(tensor) {
      const partners: Tensor[] = [];
      for (const name of names.get(tensor) ?? []) {
        if (!program.inputs.has(name) && !families.has(name)) return undefined;
        for (const other of families.get(name) ?? [name]) {
          for (const partner of [program.inputs.get(other), program.outputs.get(other)]) {
            if (partner && !sameShape(partner.shape, tensor.shape)) return undefined;
            if (partner) partners.push(partner);
          }
        }
      }
      return partners;
    },
  };
}

/** All axes that must be as wide as this one; undefined when one of them cannot be changed. */
function joinedWith(start: Axis, links: Links): Joined | undefined {
  const joined = new Map<Tensor, number>();
  const open = [start];
  for (let next = open.pop(); next; next = open.pop()) {
    const { tensor, axis } = next;
    if (joined.get(tensor) === axis) continue;
    const { source } = tensor;
    const fixed = source.kind === 'constant' || (source.kind === 'input' && !source.state);
    const partners = links.partnersOf(tensor);
    if (joined.has(tensor) || fixed || !partners) return undefined;
    joined.set(tensor, axis);
    open.push(...partners.map(partner => ({ tensor: partner, axis })));
    const makers = source.kind === 'node' ? [source.node] : [];
    const readers = links.readersOf(tensor).filter(node => !isJoinedAndSummed(node, axis, links));
    for (const node of [...makers, ...readers]) {
      const groups = axisGroups(node).map(({ inputs, output }) => [...inputs, ...(output ? [output] : [])]);
      const own = groups.filter(group => group.some(other => other.tensor === tensor && other.axis === axis));
      if (own.length === 0) return undefined;
      open.push(...own.flat());
    }
  }
  return joined;
}

/** Whether a node puts tensors behind one another that are then only summed up, as for the norm of all gradients. */
function isJoinedAndSummed({ operator, attributes, outputs }: Node, axis: number, links: Links): boolean {
  if (operator !== 'Concat' || (attributes as Operators['Concat']).axis !== axis) return false;
  const summed = (tensor: Tensor): boolean =>
    links.partnersOf(tensor)?.length === 0 &&
    links.readersOf(tensor).every(node => {
      if (node.operator === 'ReduceSum') return (node.attributes as Operators['ReduceSum']).axes.includes(axis);
      const alone = node.inputs.every(x => x === tensor || sizeOf(x.shape) === 1);
      return isElementwise(node) && alone && summed(node.outputs[0]);
    });
  return summed(outputs[0]);
}

/** Operators that make zero of zero. */
const KEEP_ZERO: ReadonlySet<OperatorName> = new Set([
  ...(['Neg', 'Abs', 'Sqrt', 'Tanh', 'Erf', 'Relu', 'Gelu', 'QuickGelu', 'Cast'] as const),
  ...(['Reshape', 'Transpose', 'Slice', 'Add', 'Sub', 'Max', 'Min'] as const),
]);

/** Whether what is added to states as zero is zero wherever it is summed over, returned or kept. */
function staysZero({ nodes, outputs }: Program, joined: Joined): boolean {
  // Also those that joined tensors are put behind one another in, and what is made of them.
  const wide = new Set<Tensor>(joined.keys());
  const zero = new Set<Tensor>([...joined.keys()].filter(({ source }) => source.kind === 'input'));
  for (const node of nodes) {
    const { operator, inputs } = node;
    if (!inputs.some(x => wide.has(x))) continue;
    const [output] = node.outputs;
    const inner = operator === 'Gemm' ? axisGroups(node).find(group => !group.output)!.inputs[0] : undefined;
    const summed = inner ? joined.get(inner.tensor) === inner.axis : operator === 'ReduceSum' && !joined.has(output);
    if (summed && !inputs.slice(0, 2).some(x => zero.has(x))) return false;
    if (summed && !joined.has(output)) continue;
    wide.add(output);
    if (keepsZero(node, joined, zero)) zero.add(output);
  }
  return [...outputs.values()].every(tensor => !joined.has(tensor) || zero.has(tensor));
}

/** Whether a node makes zeros of what is added, when that is so of some of its inputs. */
function keepsZero(node: Node, joined: Joined, zero: ReadonlySet<Tensor>): boolean {
  const { operator, inputs } = node;
  const isZero = (x: Tensor): boolean =>
    zero.has(x) || (x.source.kind === 'constant' && x.source.data.every(value => Number(value) === 0));
  if (operator === 'Mul') return inputs.some(isZero);
  if (operator === 'Where') return inputs.slice(1).every(isZero);
  if (operator === 'Concat') return inputs.every(x => isZero(x) || !joined.has(x));
  if (operator === 'Gemm') {
    const [a, b, c] = inputs;
    const own = axisGroups(node).find(({ output }) => output && joined.get(output.tensor) === output.axis);
    const owner = own?.output?.axis === 0 ? a : b;
    return zero.has(owner) && (!c || isZero(c));
  }
  return (operator === 'ReduceSum' || KEEP_ZERO.has(operator)) && inputs.every(isZero);
}

function widened(fused: FusedProgram, wide: ReadonlyMap<Tensor, ReadonlySet<number>>): WideProgram {
  const { program, updates } = fused;
  const shapes = new Map<string, Shape>();
  const exchanged = new Map<Tensor, Tensor>();
  const widerThan = (tensor: Tensor): Shape =>
    tensor.shape.map((extent, axis) => extent + (wide.get(tensor)?.has(axis) ? MORE : 0));
  for (const [name, tensor] of program.inputs) {
    if (!wide.has(tensor)) continue;
    shapes.set(name, widerThan(tensor));
    exchanged.set(tensor, state(name, shapes.get(name)!, tensor.dtype));
  }
  const outputs = rewrite([...program.outputs.values()], exchanged, (node, inputs) => {
    if (inputs.every((x, i) => sameShape(x.shape, node.inputs[i].shape))) return undefined;
    const shape = outputShape(
      node,
      inputs.map(x => x.shape),
    );
    const attributes = node.operator === 'Reshape' ? { shape } : node.attributes;
    return applyAgain(node, inputs, attributes, [{ dtype: node.outputs[0].dtype, shape }]);
  });
  const made = new Map([...program.outputs.keys()].map((name, i) => [name, outputs[i]]));
  for (const { weight, first, second, average } of updates) {
    const { shape } = made.get(gradientName(weight))!;
    if (sameShape(shape, program.outputs.get(gradientName(weight))!.shape)) continue;
    for (const name of [weight, first, second, ...(average === undefined ? [] : [average])]) shapes.set(name, shape);
  }
  const now = new Map([...program.outputs].map(([name, tensor]) => [tensor, made.get(name)!]));
  const current = (tensor: Tensor): Tensor => now.get(tensor) ?? tensor;
  return {
    program: reached(made),
    updates: updates.map(update => ({
      ...update,
      gradient: current(update.gradient),
      applied: update.applied && current(update.applied),
      scalars: Object.fromEntries(
        Object.entries(update.scalars).map(([name, x]) => [name, x && current(x as Tensor)]),
      ) as unknown as UpdateScalars,
    })),
    shapes,
  };
}
