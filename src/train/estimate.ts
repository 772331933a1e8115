/** What a program will hold in memory, from its sizes alone. */
import { cpuProgram } from '../engine/cpu-program.ts';
import { executionOrder } from '../engine/execution-order.ts';
import type { OperatorName, Program, Tensor } from '../engine/index.ts';
import { sizeOf } from '../engine/index.ts';

export interface ProgramMemory {
  /** Bytes of states, of the second copies of those that cannot be overwritten where they lie, and of gradients that wait. */
  readonly resident: number;
  /** Most bytes of inputs and values between nodes that live at once, when nodes run in ONNX Runtime's order. */
  readonly live: number;
}

const BYTES: Record<Tensor['dtype'], number> = {
  ...{ float32: 4, float64: 8, float16: 2, int64: 8, int32: 4, uint8: 1, bool: 1 },
};

/** Operators that give another view of their first input. */
const VIEWS: ReadonlySet<OperatorName> = new Set(['Reshape']);

/** The memory of a program's runs on the CPU, `lean` as it is compiled. */
export function programMemory(traced: Program, lean = false): ProgramMemory {
  const { program, updates, inPlace } = cpuProgram(traced, lean);
  const bytes = ({ dtype, shape }: Tensor): number => BYTES[dtype] * sizeOf(shape);
  let resident = updates.reduce((sum, { size }) => sum + BYTES.float32 * size, 0);
  let fed = 0;
  for (const [name, tensor] of traced.inputs) {
    if (tensor.source.kind !== 'input') continue;
    if (!tensor.source.state) fed += bytes(tensor);
    else resident += bytes(tensor) * (program.outputs.has(name) && !inPlace.has(name) ? 2 : 1);
  }
  // A view keeps what it is a view of.
  const roots = new Map<Tensor, Tensor>();
  const rootOf = (tensor: Tensor): Tensor => roots.get(tensor) ?? tensor;
  const last = new Map<Tensor, number>();
  const nodes = executionOrder(program);
  nodes.forEach((node, i) => {
    if (VIEWS.has(node.operator)) roots.set(node.outputs[0], rootOf(node.inputs[0]));
    for (const tensor of [...node.inputs, ...node.outputs]) last.set(rootOf(tensor), i);
  });
  const returned = new Set([...program.outputs.values()].map(rootOf));
  const ends = new Map<number, Tensor[]>();
  for (const [tensor, i] of last) {
    if (tensor.source.kind === 'node') ends.set(i, [...(ends.get(i) ?? []), tensor]);
  }
  let now = 0;
  let live = 0;
  nodes.forEach((node, i) => {
    // What a program returns lies in memory of its own, which is counted with the states.
    for (const output of node.outputs) if (!roots.has(output) && !returned.has(output)) now += bytes(output);
    live = Math.max(live, now);
    for (const tensor of ends.get(i) ?? []) if (!returned.has(tensor)) now -= bytes(tensor);
  });
  return { resident, live: live + fed };
}
