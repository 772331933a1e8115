/** Rewriting a traced graph: nodes and tensors exchanged for others, and the place where a graph is cut in two. */
import { applyAgain, type Node, type Program, reached, sortNodes, type Tensor } from './graph.ts';

/** What a node becomes, given its inputs as they are by then; undefined leaves the node as it is, with these inputs. */
export type Change = (node: Node, inputs: readonly Tensor[]) => readonly Tensor[] | undefined;

/**
 * The same tensors with parts of their graph exchanged; what is not touched is shared with the old graph.
 * @param exchanged tensors and what stands in for them wherever they are read
 */
export function rewrite(
  tensors: readonly Tensor[],
  exchanged: ReadonlyMap<Tensor, Tensor>,
  change: Change = () => undefined,
): Tensor[] {
  const now = new Map(exchanged);
  const current = (tensor: Tensor): Tensor => now.get(tensor) ?? tensor;
  for (const node of sortNodes(tensors)) {
    const inputs = node.inputs.map(current);
    const same = inputs.every((tensor, i) => tensor === node.inputs[i]);
    const made = change(node, inputs) ?? (same ? node.outputs : applyAgain(node, inputs));
    node.outputs.forEach((output, i) => {
      // What is exchanged from outside stays so, though its old node is still met on the way.
      if (made[i] !== output && !exchanged.has(output)) now.set(output, made[i]);
    });
  }
  return tensors.map(current);
}

/** The same program with nodes exchanged; the program itself when none is. */
export function rewriteProgram(program: Program, change: Change): Program {
  const names = [...program.outputs.keys()];
  const outputs = rewrite([...program.outputs.values()], new Map(), change);
  if (outputs.every((output, i) => output === program.outputs.get(names[i]))) return program;
  return reached(new Map(names.map((name, i) => [name, outputs[i]])));
}

/**
 * The tensors at which a graph falls in two: they depend on `input` and not on any of `later`, and something that does
 * depend on one of `later` reads them. In the order of their making.
 */
export function cutBetween(output: Tensor, input: Tensor, later: ReadonlySet<Tensor>): Tensor[] {
  const fromInput = new Set<Tensor>([input]);
  const fromLater = new Set<Tensor>(later);
  const cut = new Set<Tensor>();
  for (const node of sortNodes([output])) {
    const depends = (on: Set<Tensor>): boolean => node.inputs.some(tensor => on.has(tensor));
    if (depends(fromLater)) {
      for (const tensor of node.inputs) if (fromInput.has(tensor) && !fromLater.has(tensor)) cut.add(tensor);
      for (const made of node.outputs) fromLater.add(made);
    }
    if (depends(fromInput)) for (const made of node.outputs) fromInput.add(made);
  }
  return [...cut];
}
