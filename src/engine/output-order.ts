/** The order of a program's outputs, by which ONNX Runtime decides what it computes first. */
import { type Node, type Program, reached } from './graph.ts';

/**
 * The same program with those outputs first that need the most. ONNX Runtime takes the last first (execution-order.ts), so every
 * gradient of a weight is computed as soon as it can be: what it reads is still in the cache, and need not live any longer.
 */
export function mostFirst(program: Program): Program {
  const needs = new Map(
    [...program.outputs.values()].map(({ source }) => {
      const found = new Set<Node>(source.kind === 'node' ? [source.node] : []);
      for (const { inputs } of found) for (const x of inputs) if (x.source.kind === 'node') found.add(x.source.node);
      return [source, found.size];
    }),
  );
  const sorted = [...program.outputs].sort(([, a], [, b]) => needs.get(b.source)! - needs.get(a.source)!);
  return reached(new Map(sorted));
}
