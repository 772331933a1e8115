/** Which states a run may overwrite where they lie: those that nothing reads any more when their next value is written. */
import { apply, type Node, type OperatorName, type Program, reached, type Tensor, within } from './graph.ts';
import { after } from './recompute.ts';
import { rewrite } from './rewrite.ts';
import { sizeOf } from './shape.ts';

/** Element-wise kernels that write an element after reading only the same elements of their operands. */
const WRITERS: ReadonlySet<OperatorName> = new Set(['Add', 'Sub', 'Mul', 'Div']);

/** Operators whose outputs are new memory whatever ONNX Runtime makes of them; others may become views of their input. */
const COPYING: ReadonlySet<OperatorName> = new Set(['Gemm', 'MatMul', 'LayerNormalization', 'Conv', 'Gather']);

/**
 * Names of states whose next value may be written over the last: every node that reads the state, also through a view,
 * leads to the node that writes the next value, so it has run by then.
 *
 * Moments and averages are such; a weight that the backward pass reads is not by itself, for its update does not wait for all of
 * that: `waitForReaders` makes it wait.
 */
export function inPlaceStates(program: Program): Set<string> {
  const readers = readersOf(program.nodes);
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

/**
 * The same program, in which more states can be written in place: where a next value ends in a product or sum with a scalar (the
 * size of a step), the scalar waits for everything that reads the state.
 */
export function waitForReaders(program: Program): Program {
  const readers = readersOf(program.nodes);
  const known = inPlaceStates(program);
  const returned = new Set(program.outputs.values());
  const updated = [...program.outputs].filter(([name]) => {
    const state = program.inputs.get(name);
    return state && !returned.has(state) && !known.has(name);
  });
  // What depends on a next value itself cannot be waited for.
  const late = new Set(updated.map(([, { source }]) => (source.kind === 'node' ? source.node : undefined)));
  for (const node of program.nodes) {
    if (node.inputs.some(({ source }) => source.kind === 'node' && late.has(source.node))) late.add(node);
  }
  const waiting = new Map<Tensor, Tensor>();
  for (const [name, next] of updated) {
    if (next.source.kind !== 'node' || !WRITERS.has(next.source.node.operator)) continue;
    if (next.dtype !== 'float32' && next.dtype !== 'float64') continue;
    const { node: writer } = next.source;
    const before = ancestors(writer);
    const open = readersThroughViews(program.inputs.get(name)!, readers, writer).filter(node => !before.has(node));
    if (open.some(node => late.has(node) || node.outputs[0].dtype !== next.dtype)) continue;
    const delayed = within('update', () =>
      delay(
        writer,
        open.map(({ outputs }) => outputs[0]),
      ),
    );
    if (delayed) waiting.set(next, delayed);
  }
  if (waiting.size === 0) return program;
  const outputs = within('update', () => rewrite([...program.outputs.values()], waiting));
  return reached(new Map([...program.outputs.keys()].map((name, i) => [name, outputs[i]])));
}

/** A copy of an element-wise node whose scalar, or that of an operand, comes after the gates; undefined without a scalar. */
function delay(node: Node, gates: readonly Tensor[], depth = 0): Tensor | undefined {
  const scalar = node.inputs.findIndex(x => sizeOf(x.shape) === 1);
  const again = (i: number, x: Tensor): Tensor =>
    apply(node.operator, node.inputs.with(i, x), node.attributes, node.outputs)[0];
  if (scalar >= 0) return again(scalar, after(node.inputs[scalar], gates));
  if (depth > 0) return undefined;
  for (const [i, { source }] of node.inputs.entries()) {
    if (source.kind !== 'node' || !WRITERS.has(source.node.operator)) continue;
    const operand = delay(source.node, gates, 1);
    if (operand) return again(i, operand);
  }
  return undefined;
}

function readersOf(nodes: readonly Node[]): Map<Tensor, Node[]> {
  const readers = new Map<Tensor, Node[]>();
  for (const node of nodes) {
    for (const x of new Set(node.inputs)) readers.set(x, [...(readers.get(x) ?? []), node]);
  }
  return readers;
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
