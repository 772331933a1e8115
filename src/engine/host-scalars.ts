/**
 * Which nodes of a program for WebGPU are the processor's. It has no float64, so what a scalar becomes there is computed on the
 * processor; where the scalar itself was computed on the GPU, the processor would wait in the middle of a step for all that was
 * sent before. Scalars that come from nothing but inputs and constants are therefore computed on the processor too.
 */
import type { Node, Program, Tensor } from './graph.ts';
import { sizeOf } from './shape.ts';

/** Nodes before a cast to float64 that make scalars of scalars. */
export function hostScalars({ nodes }: Program): Set<Node> {
  const known = new Map<Node, boolean>();
  const isScalar = ({ source, shape, dtype }: Tensor): boolean => {
    if (sizeOf(shape) !== 1) return false;
    if (source.kind !== 'node' || dtype === 'float64') return true;
    const { node } = source;
    if (!known.has(node)) known.set(node, node.inputs.every(isScalar));
    return known.get(node)!;
  };
  const found = new Set<Node>();
  const take = ({ source, dtype }: Tensor): void => {
    if (source.kind !== 'node' || dtype === 'float64' || found.has(source.node)) return;
    found.add(source.node);
    source.node.inputs.forEach(take);
  };
  for (const { operator, inputs, outputs } of nodes) {
    if (operator === 'Cast' && outputs[0].dtype === 'float64' && isScalar(inputs[0])) take(inputs[0]);
  }
  return found;
}

/** The ONNX name of such a node, by the order in which they are written. */
export function hostName(index: number): string {
  return `:host/${index}`;
}

/** The names of all that a program has. */
export function hostNames(program: Program): string[] {
  return Array.from(hostScalars(program), (_, i) => hostName(i));
}
