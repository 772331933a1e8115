/** Activations that are not kept for the backward pass but computed again in it (Chen et al. 2016, arXiv 1604.06174). */
import { apply, type Node, type Tensor, within } from './graph.ts';
import { greater, where } from './ops/elementwise.ts';
import { concat, reshape, slice } from './ops/layout.ts';
import { max } from './ops/reduce.ts';

/**
 * The segment that a node belongs to, any value but undefined; the nodes of a segment are computed again together, and only
 * what enters it from other nodes is kept. Undefined: the node's outputs are kept.
 */
export type Segments = (node: Node) => unknown;

/**
 * The same values, which are computed only after `gates` were: edges of control that are edges of data.
 *
 * ONNX has no edges of control, and ONNX Runtime exchanges equal expressions for one, so a copy of a node needs an input that is
 * another tensor. No value is greater than itself, also none that is no number: nothing changes, and ONNX Runtime cannot know.
 * @param x float32 or float64
 * @param gates at least one, of any shapes and one such type
 */
export function after(x: Tensor, gates: readonly Tensor[]): Tensor {
  const firsts = gates.map(gate => slice(reshape(gate, [-1]), 0, 0, 1));
  const one = firsts.length === 1 ? reshape(firsts[0], []) : max(concat(firsts, 0));
  return where(greater(one, one), 0, x);
}

/** Gives a node as the backward pass reads it: the node itself, or its copy in a segment that is computed again. */
export type Reading = (node: Node, gates: () => readonly Tensor[]) => Node;

/**
 * The reading that copies segments. A segment is copied when its first node is read; the copy is computed after the gates that
 * are asked for then.
 * @param nodes of the forward pass, producers before consumers
 */
export function recomputation(nodes: readonly Node[], segments: Segments): Reading {
  const members = new Map<unknown, Node[]>();
  const segmentOf = new Map<Node, unknown>();
  for (const node of nodes) {
    const segment = segments(node);
    if (segment === undefined) continue;
    segmentOf.set(node, segment);
    members.set(segment, [...(members.get(segment) ?? []), node]);
  }
  const copies = new Map<Node, Node>();
  return (node, gates) => {
    const segment = segmentOf.get(node);
    if (segment === undefined) return node;
    if (!copies.has(node)) within('recompute', () => copySegment(members.get(segment)!, gates(), copies));
    return copies.get(node)!;
  };
}

function copySegment(nodes: readonly Node[], gates: readonly Tensor[], copies: Map<Node, Node>): void {
  const own = new Set(nodes);
  const now = new Map<Tensor, Tensor>();
  // Weights and constants are there in any case; integers and conditions are indices and masks.
  const enters = ({ source, dtype }: Tensor): boolean =>
    dtype.startsWith('float') &&
    (source.kind === 'node' ? !own.has(source.node) : source.kind === 'input' && !source.state);
  const current = (x: Tensor): Tensor => {
    const known = now.get(x);
    if (known) return known;
    const tensor = enters(x) ? after(x, gates) : x;
    now.set(x, tensor);
    return tensor;
  };
  for (const node of nodes) {
    const inputs = node.inputs.map(current);
    const same = inputs.every((x, i) => x === node.inputs[i]);
    const made = same ? node.outputs : apply(node.operator, inputs, node.attributes, node.outputs);
    for (const [i, output] of node.outputs.entries()) now.set(output, made[i]);
    const { source } = made[0];
    copies.set(node, source.kind === 'node' ? source.node : node);
  }
}
