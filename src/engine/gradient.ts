/** Reverse-mode differentiation: a walk that appends gradient nodes and knows no operator. */
import { S3aError } from '../errors.ts';
import { type Node, type OperatorName, sortNodes, type Tensor, within } from './graph.ts';
import { add } from './ops/elementwise.ts';
import { full } from './ops/reduce.ts';
import { type Reading, recomputation, type Segments } from './recompute.ts';
import { rules } from './rules/index.ts';
import { noGradient, type Rule } from './rules/rule.ts';
import { showShape, sizeOf } from './shape.ts';

export interface GradientOptions {
  /**
   * Parts of the graph whose inner values are not kept for the backward pass but computed again in it (activation
   * checkpointing): less memory for one more forward pass of these parts, and the same gradients, bit by bit.
   */
  recompute?: Segments;
}

/**
 * Gradients of a scalar with respect to tensors of its graph, each of the shape of its tensor.
 * @param wrt a list of tensors, or tensors by name; the gradients come in the same order, or by the same names
 * @throws S3aError GRADIENT when the loss is not a scalar or does not depend on one of the tensors.
 * @example
 * const [dx] = gradient(loss, [x]);
 * const gradients = gradient(loss, { w, b }); // what adamW and clipGradients take
 */
export function gradient(loss: Tensor, wrt: readonly Tensor[], options?: GradientOptions): Tensor[];
/** The same of tensors by name. */
export function gradient<Name extends string>(
  loss: Tensor,
  wrt: Readonly<Record<Name, Tensor>>,
  options?: GradientOptions,
): Record<Name, Tensor>;
export function gradient(
  loss: Tensor,
  wrt: readonly Tensor[] | Readonly<Record<string, Tensor>>,
  { recompute }: GradientOptions = {},
): Tensor[] | Record<string, Tensor> {
  const tensors: readonly Tensor[] = Object.values(wrt);
  if (tensors.some(tensor => tensor?.source === undefined)) {
    throw new S3aError(
      'GRADIENT',
      'gradients are with respect to tensors',
      'Give a list of them, or an object by name.',
    );
  }
  const gradients = within('backward', () => walk(loss, tensors, recompute));
  if (Array.isArray(wrt)) return gradients;
  return Object.fromEntries(Object.keys(wrt).map((name, i) => [name, gradients[i]]));
}

function walk(loss: Tensor, wrt: readonly Tensor[], recompute?: Segments): Tensor[] {
  if (sizeOf(loss.shape) !== 1) {
    throw new S3aError('GRADIENT', `the gradient of a tensor of shape ${showShape(loss.shape)}: a scalar is needed`);
  }
  const nodes = sortNodes([loss]);
  const reaching = new Set<Tensor>(wrt);
  for (const node of nodes) {
    if (node.inputs.some(x => reaching.has(x))) for (const output of node.outputs) reaching.add(output);
  }
  const read: Reading = recompute ? recomputation(nodes, recompute) : node => node;
  // A segment waits for all gradients that are complete by then, so that what they are made of is gone when it is filled again.
  const completed = completion(nodes, wrt);
  let waiting: Tensor[] = [];
  const gradients = new Map<Tensor, Tensor>([[loss, full(1, loss.shape, loss.dtype)]]);
  for (const node of nodes.toReversed()) {
    const dy = gradients.get(node.outputs[0]);
    if (!dy || !reaching.has(node.outputs[0])) continue;
    const rule = rules[node.operator] as Rule<OperatorName> | typeof noGradient;
    if (rule === noGradient) continue;
    const seen = read(node, () => {
      const gates = [dy, ...waiting.filter(({ dtype }) => dtype === dy.dtype)];
      waiting = [];
      return gates;
    });
    rule(seen, dy).forEach((dx, i) => {
      const x: Tensor = node.inputs[i];
      if (!dx || !reaching.has(x)) return;
      const sum = gradients.get(x);
      gradients.set(x, sum ? add(sum, dx) : dx);
    });
    for (const x of completed.get(node) ?? []) waiting.push(...[gradients.get(x)].filter(g => g !== undefined));
  }
  return wrt.map((x, i) => {
    const dx = gradients.get(x);
    if (!dx) throw new S3aError('GRADIENT', `the loss does not depend on ${describe(x, i)}`);
    return dx;
  });
}

/** The tensors whose gradients are complete once the reverse walk has passed a node: the first that reads them. */
function completion(nodes: readonly Node[], wrt: readonly Tensor[]): Map<Node, Tensor[]> {
  const open = new Set(wrt);
  const completed = new Map<Node, Tensor[]>();
  for (const node of nodes) {
    const here = [...new Set(node.inputs)].filter(x => open.delete(x));
    if (here.length > 0) completed.set(node, here);
  }
  return completed;
}

function describe(x: Tensor, i: number): string {
  return x.source.kind === 'input' ? `'${x.source.name}'` : `tensor ${i} of shape ${showShape(x.shape)}`;
}
