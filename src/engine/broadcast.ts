/** Element-wise operators broadcast by themselves: what is repeated for them alone need not be made. */
import { isElementwise } from './axes.ts';
import { applyAgain, type Program, type Tensor } from './graph.ts';
import { rewriteProgram } from './rewrite.ts';
import { broadcastShapes, sameShape } from './shape.ts';

/**
 * The same program in which element-wise operators read values as they were before they were expanded, where the other operand
 * has the whole shape. ONNX Runtime expands in one thread and broadcasts in all.
 */
export function withoutExpansions(program: Program): Program {
  return rewriteProgram(program, (node, inputs) => {
    if (!isElementwise(node) || inputs.length !== 2) return undefined;
    const [a, b] = inputs;
    const pairs = [
      [beforeExpand(a), b],
      [a, beforeExpand(b)],
    ];
    const kept = pairs.find(
      ([x, y]) =>
        (x !== a || y !== b) && sameShape(broadcastShapes(node.operator, x.shape, y.shape), node.outputs[0].shape),
    );
    return kept && applyAgain(node, kept);
  });
}

function beforeExpand(tensor: Tensor): Tensor {
  const { source } = tensor;
  return source.kind === 'node' && source.node.operator === 'Expand' ? source.node.inputs[0] : tensor;
}
