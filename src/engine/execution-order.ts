/** The order in which ONNX Runtime runs the nodes of a program, which decides what lives in memory at once. */
import type { Node, Program, Tensor } from './graph.ts';

/**
 * The nodes as ONNX Runtime's sequential executor takes them (1.30, `Graph::ReverseDFSFrom`): backwards from the nodes that no
 * other reads, the last of the file first, each with what it still needs, again the last first. Nodes that it fuses or drops
 * are taken as they were written.
 */
export function executionOrder({ nodes }: Program): Node[] {
  const place = new Map(nodes.map((node, i) => [node, i]));
  const producers = ({ inputs }: Node): Node[] => {
    const makers = inputs.map(({ source }: Tensor) => (source.kind === 'node' ? source.node : undefined));
    return [...new Set(makers)].filter(node => node !== undefined).sort((a, b) => place.get(a)! - place.get(b)!);
  };
  const read = new Set(nodes.flatMap(producers));
  const stack = nodes.filter(node => !read.has(node)).map(node => ({ node, ready: false }));
  const seen = new Set<Node>();
  const order: Node[] = [];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { node, ready } = top;
    if (ready) order.push(node);
    if (ready || seen.has(node)) continue;
    seen.add(node);
    stack.push({ node, ready: true }, ...producers(node).map(producer => ({ node: producer, ready: false })));
  }
  return order;
}
