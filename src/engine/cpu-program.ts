/** What a program becomes before ONNX Runtime runs it on a CPU. */

import { withoutExpansions } from './broadcast.ts';
import { type FusedNorm, fuseNorms } from './fused-norms.ts';
import type { UpdatePlan } from './fused-states.ts';
import { fuseUpdates, gradientName } from './fused-updates.ts';
import type { Program, Tensor } from './graph.ts';
import { inPlaceStates, waitForReaders } from './in-place.ts';
import { mostFirst } from './output-order.ts';
import { widenRows } from './row-stride.ts';
import { type Shape, sizeOf } from './shape.ts';
import { withTurnedFactors } from './turned-factors.ts';
import type { ScalarName } from './update-kernel.ts';

export interface CpuProgram {
  /** What ONNX Runtime runs. Outputs whose names begin with a colon are for the updates alone. */
  readonly program: Program;
  /** What is updated after that, by a kernel. */
  readonly updates: readonly UpdatePlan[];
  /** Results that come out of the updates. */
  readonly norms: readonly FusedNorm[];
  /** States of the program that are written over where they lie. */
  readonly inPlace: ReadonlySet<string>;
  /** Shapes of the states that are wider than traced (row-stride.ts), with zeros beside their values. */
  readonly shapes: ReadonlyMap<string, Shape>;
}

/** Prepares a program; with `lean` all updates stay nodes, so that a gradient can be gone before the next is made. */
export function cpuProgram(traced: Program, lean = false): CpuProgram {
  const short = withoutExpansions(traced);
  const kernel = lean ? { program: short, updates: [] } : fuseUpdates(short);
  const { program: normless, norms } = fuseNorms(kernel);
  const fused = widenRows({ ...kernel, program: normless });
  // Updates that are nodes have an order of their own, in which each follows its gradient.
  const program = waitForReaders(
    withTurnedFactors(fused.updates.length > 0 ? mostFirst(fused.program) : fused.program),
  );
  const names = new Map([...fused.program.outputs].map(([name, tensor]) => [tensor, name]));
  const nameOf = (tensor: Tensor): string => names.get(tensor)!;
  const numberOf = (tensor: Tensor): number | string =>
    tensor.source.kind === 'constant' ? Number(tensor.source.data[0]) : nameOf(tensor);
  const updates = fused.updates.map(({ weight, first, second, average, scalars, applied }) => ({
    ...{ weight, first, second, average },
    size: sizeOf(fused.shapes.get(weight) ?? traced.inputs.get(weight)!.shape),
    gradient: gradientName(weight),
    scalars: Object.fromEntries(
      Object.entries(scalars).flatMap(([name, tensor]) => (tensor ? [[name, numberOf(tensor)]] : [])),
    ) as Partial<Record<ScalarName, number | string>>,
    applied: applied && nameOf(applied),
  }));
  return { program, updates, norms, inPlace: inPlaceStates(program), shapes: fused.shapes };
}
