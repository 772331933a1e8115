/**
 * Norms of the gradients that updates read, taken out of a program: the kernel that makes the updates (update-kernel.ts) sums up
 * the squares on its way, where ONNX Runtime would read all gradients twice more.
 */
import { type FusedProgram, operands, withoutReshape } from './fused-updates.ts';
import { type Program, reached, type Tensor } from './graph.ts';
import { sizeOf } from './shape.ts';

/** An output that is the Euclidean norm of the gradients of some weights. */
export interface FusedNorm {
  readonly name: string;
  readonly weights: readonly string[];
}

/**
 * Takes out of a program all outputs of the form that `gradientNorm` traces, over gradients of its updates. One that something else
 * needs stays, as before a clip; so does one whose updates happen on a condition, since the kernel may not come by.
 */
export function fuseNorms({ program, updates }: FusedProgram): { program: Program; norms: readonly FusedNorm[] } {
  const weightOf = new Map(
    updates.filter(({ applied }) => !applied).map(({ weight, gradient }) => [withoutReshape(gradient), weight]),
  );
  const norms: FusedNorm[] = [];
  const outputs = new Map(program.outputs);
  for (const [name, norm] of program.outputs) {
    const [total] = operands(norm, 'Sqrt') ?? [];
    const weights = total && sizeOf(norm.shape) === 1 ? weightsOf(total, weightOf) : undefined;
    if (!weights || new Set(weights).size < weights.length) continue;
    outputs.delete(name);
    norms.push({ name, weights });
  }
  const rest = reached(outputs);
  const needed = new Set(rest.nodes.flatMap(node => node.outputs));
  const kept = norms.filter(({ name }) => needed.has(program.outputs.get(name)!));
  if (norms.length === 0 || kept.length > 0) return { program, norms: [] };
  return { program: rest, norms };
}

/** The weights over whose gradients a scalar is the sum of squares; undefined when it is something else. */
function weightsOf(sum: Tensor, weightOf: ReadonlyMap<Tensor, string>): string[] | undefined {
  const parts = operands(sum, 'Add')?.map(part => weightsOf(part, weightOf));
  if (parts) return parts.includes(undefined) ? undefined : (parts as string[][]).flat();
  const [squares] = operands(sum, 'ReduceSum') ?? [];
  const [gradient, same] = operands(squares, 'Mul') ?? [];
  if (!gradient || gradient !== same || sizeOf(sum.shape) !== 1) return undefined;
  const weights = (operands(gradient, 'Concat') ?? [gradient]).map(part => weightOf.get(withoutReshape(part)));
  return weights.includes(undefined) ? undefined : (weights as string[]);
}
