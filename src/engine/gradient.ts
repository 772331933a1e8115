/** Reverse-mode differentiation: a walk that appends gradient nodes and knows no operator. */
import { S3aError } from '../errors.ts';
import { type OperatorName, sortNodes, type Tensor, within } from './graph.ts';
import { add } from './ops/elementwise.ts';
import { full } from './ops/reduce.ts';
import { rules } from './rules/index.ts';
import { noGradient, type Rule } from './rules/rule.ts';
import { showShape, sizeOf } from './shape.ts';

/**
 * Gradients of a scalar with respect to tensors of its graph, each of the shape of its tensor.
 * @throws S3aError GRADIENT when the loss is not a scalar or does not depend on one of the tensors.
 */
export function gradient(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  return within('backward', () => walk(loss, wrt));
}

function walk(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (sizeOf(loss.shape) !== 1) {
    throw new S3aError('GRADIENT', `the gradient of a tensor of shape ${showShape(loss.shape)}: a scalar is needed`);
  }
  const nodes = sortNodes([loss]);
  const reaching = new Set<Tensor>(wrt);
  for (const node of nodes) {
    if (node.inputs.some(x => reaching.has(x))) for (const output of node.outputs) reaching.add(output);
  }
  const gradients = new Map<Tensor, Tensor>([[loss, full(1, loss.shape, loss.dtype)]]);
  for (const node of nodes.reverse()) {
    const dy = gradients.get(node.outputs[0]);
    if (!dy || !reaching.has(node.outputs[0])) continue;
    const rule = rules[node.operator] as Rule<OperatorName> | typeof noGradient;
    if (rule === noGradient) continue;
    rule(node, dy).forEach((dx, i) => {
      const x: Tensor = node.inputs[i];
      if (!dx || !reaching.has(x)) return;
      const sum = gradients.get(x);
      gradients.set(x, sum ? add(sum, dx) : dx);
    });
  }
  return wrt.map((x, i) => {
    const dx = gradients.get(x);
    if (!dx) throw new S3aError('GRADIENT', `the loss does not depend on ${describe(x, i)}`);
    return dx;
  });
}

function describe(x: Tensor, i: number): string {
  return x.source.kind === 'input' ? `'${x.source.name}'` : `tensor ${i} of shape ${showShape(x.shape)}`;
}
