/** Which states a run may overwrite where they lie: those that nothing reads any more when their next value is written. */
import type { Node, OperatorName, Program, Tensor } from './graph.ts';

/** Element-wise kernels that write an element after reading only the same elements of their operands. */
const WRITERS: ReadonlySet<OperatorName> = new Set(['Add', 'Sub', 'Mul', 'Div']);

/** Operators whose outputs are new memory whatever ONNX Runtime makes of them; others may become views of their input. */
const COPYING: ReadonlySet<OperatorName> = new Set(['Gemm', 'MatMul', 'LayerNormalization', 'Conv', 'Gather']);

/**
 * Names of states whose next value may be written over the last: every node that reads the state, also through a view,
 * leads to the node that writes the next value, so it has run by then.
 *
 * Moments and averages are such; a weight that the backward pass reads is not, for its update does not wait for all of that.
 */
export function inPlaceStates(program: Program): Set<string> {
  const readers = new Map<Tensor, Node[]>();
  for (const node of program.nodes) {
    for (const x of new Set(node.inputs)) readers.set(x, [...(readers.get(x) ?? []), node]);
  }
  const returned = new Set(program.outputs.values());
  const names = new Set<string>();
  for (const [name, next] of program.outputs) {
    const state = program.inputs.get(name);
    if (!state || next.source.kind !== 'node' || returned.has(state)) continue;
    const { node: writer } = next.source;
    if (!WRITERS.has(writer.operator)) continue;
    const before = ancestors(writer);
    if (readersThroughViews(state, readers, writer).every(reader => before.has(reader))) names.add(name);
  }
  return names;
}

/** A node and everything it needs. */
function ancestors(last: Node): Set<Node> {
  const found = new Set([last]);
  for (const node of found) {
    for (const { source } of node.inputs) if (source.kind === 'node') found.add(source.node);
  }
  return found;
}

/** The nodes that may read a tensor's memory; what comes after `writer` reads the new value. */
function readersThroughViews(tensor: Tensor, readers: ReadonlyMap<Tensor, readonly Node[]>, writer: Node): Node[] {
  const found = new Set(readers.get(tensor) ?? []);
  for (const node of found) {
    if (node === writer || COPYING.has(node.operator)) continue;
    for (const output of node.outputs) for (const reader of readers.get(output) ?? []) found.add(reader);
  }
  return [...found];
}
