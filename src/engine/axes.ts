/** Which axes of a node's tensors are one and the same, and the shape of its output when one of them gets another extent. */
import type { Node, OperatorName, Operators, Tensor } from './graph.ts';
import { broadcastShapes, type Shape } from './shape.ts';

/** An axis of a tensor, counted from the front. */
export interface Axis {
  readonly tensor: Tensor;
  readonly axis: number;
}

/** Axes of a node that have one extent. */
export interface AxisGroup {
  readonly inputs: readonly Axis[];
  /** Undefined for an axis that is summed over. */
  readonly output?: Axis;
}

const ELEMENTWISE: ReadonlySet<OperatorName> = new Set([
  ...(['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Equal', 'Greater', 'GreaterOrEqual', 'And', 'Where'] as const),
  ...(['Neg', 'Abs', 'Exp', 'Log', 'Sqrt', 'Reciprocal', 'Sigmoid', 'Tanh', 'Erf', 'Relu'] as const),
  ...(['Gelu', 'QuickGelu', 'Cast'] as const),
]);

/** Whether each element of the output depends on those of the inputs at its place alone. */
export function isElementwise({ operator }: Node): boolean {
  return ELEMENTWISE.has(operator);
}

/** The axes of a node that go together; axes that are in no group must keep their extents. */
export function axisGroups(node: Node): AxisGroup[] {
  const [output] = node.outputs;
  const [x] = node.inputs;
  const at = (tensor: Tensor, axis: number): Axis => ({ tensor, axis });
  if (isElementwise(node)) {
    return output.shape.map((extent, axis) => {
      const aligned = node.inputs.map(tensor => at(tensor, axis - output.shape.length + tensor.shape.length));
      return { inputs: aligned.filter(({ tensor, axis: i }) => tensor.shape[i] === extent), output: at(output, axis) };
    });
  }
  switch (node.operator) {
    case 'Gemm': {
      const { transA, transB } = node.attributes as Operators['Gemm'];
      const [a, b, c] = node.inputs;
      const bias = (axis: number): Axis[] => {
        const own = c ? axis - 2 + c.shape.length : -1;
        return c && c.shape[own] === output.shape[axis] ? [at(c, own)] : [];
      };
      return [
        { inputs: [at(a, transA ? 1 : 0), ...bias(0)], output: at(output, 0) },
        { inputs: [at(b, transB ? 0 : 1), ...bias(1)], output: at(output, 1) },
        { inputs: [at(a, transA ? 0 : 1), at(b, transB ? 1 : 0)] },
      ];
    }
    case 'ReduceSum': {
      const { axes, keepdims } = node.attributes as Operators['ReduceSum'];
      let kept = 0;
      return x.shape.map((_, axis) => {
        const summed = axes.includes(axis);
        const place = summed && !keepdims ? -1 : kept++;
        return summed ? { inputs: [at(x, axis)] } : { inputs: [at(x, axis)], output: at(output, place) };
      });
    }
    case 'Reshape': {
      const [from, to] = [x.shape.length - 1, output.shape.length - 1];
      return x.shape[from] === output.shape[to] ? [{ inputs: [at(x, from)], output: at(output, to) }] : [];
    }
    case 'Transpose': {
      const { perm } = node.attributes as Operators['Transpose'];
      return perm.map((from, to) => ({ inputs: [at(x, from)], output: at(output, to) }));
    }
    case 'Slice': {
      const { axes } = node.attributes as Operators['Slice'];
      const whole = x.shape.map((_, axis) => axis).filter(axis => !axes.includes(axis));
      return whole.map(axis => ({ inputs: [at(x, axis)], output: at(output, axis) }));
    }
    default:
      return [];
  }
}

/** The output's shape for inputs of other extents, for the operators that `axisGroups` knows and for Concat. */
export function outputShape(node: Node, inputs: readonly Shape[]): Shape {
  const [output] = node.outputs;
  if (isElementwise(node)) return inputs.reduce((a, b) => broadcastShapes(node.operator, a, b));
  if (node.operator === 'Concat') {
    const { axis } = node.attributes as Operators['Concat'];
    return output.shape.with(
      axis,
      inputs.reduce((sum, shape) => sum + shape[axis], 0),
    );
  }
  const shape = [...output.shape];
  for (const group of axisGroups(node)) {
    const [first] = group.inputs;
    if (group.output && first) shape[group.output.axis] = inputs[node.inputs.indexOf(first.tensor)][first.axis];
  }
  return shape;
}
