/** What a program will hold in memory, from its sizes alone. */
import { cpuProgram } from '../engine/cpu-program.ts';
import { executionOrder } from '../engine/execution-order.ts';
import type { Node, OperatorName, Program, Provider, Tensor } from '../engine/index.ts';
import { sizeOf } from '../engine/index.ts';

export interface ProgramMemory {
  /** Bytes of all states, each once. */
  readonly states: number;
  /** Bytes of states, of the other copies of those that cannot be overwritten where they lie, and of gradients that wait. */
  readonly resident: number;
  /** Most bytes of inputs and values between nodes that live at once, when nodes run in ONNX Runtime's order. */
  readonly live: number;
}

export interface MemoryOptions {
  readonly device?: Provider;
  /** As the program is compiled. */
  readonly lean?: boolean;
  /** Whether a call may have several steps; its stacks are not counted. */
  readonly loops?: boolean;
}

const BYTES: Record<Tensor['dtype'], number> = {
  ...{ float32: 4, float64: 8, float16: 2, int64: 8, int32: 4, uint8: 1, bool: 1 },
};

/** Operators that give another view of their first input. */
const VIEWS: ReadonlySet<OperatorName> = new Set(['Reshape']);

/**
 * The memory of a program's runs where it computes: on the CPU in memory, on a GPU on the card. Float16 has two bytes on both,
 * though a CPU casts it to compute (docs/training.md has a measurement).
 */
export function programMemory(traced: Program, options: MemoryOptions = {}): ProgramMemory {
  const { device = 'cpu', lean = false, loops = false } = options;
  const onCpu = device === 'cpu' && !loops;
  const asTraced = { program: traced, updates: [], inPlace: new Set<string>() };
  const { program, updates, inPlace } = onCpu ? cpuProgram(traced, lean) : asTraced;
  const bytes = ({ dtype, shape }: Tensor): number => BYTES[dtype] * sizeOf(shape);
  // What goes into a loop, the values of a step, and those of the next.
  const copies = loops ? 3 : 2;
  let resident = updates.reduce((sum, { size }) => sum + BYTES.float32 * size, 0);
  let [fed, states] = [0, 0];
  for (const [name, tensor] of traced.inputs) {
    if (tensor.source.kind !== 'input') continue;
    if (!tensor.source.state) fed += bytes(tensor);
    else {
      states += bytes(tensor);
      resident += bytes(tensor) * (program.outputs.has(name) && !inPlace.has(name) ? copies : 1);
    }
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
    live = Math.max(live, now + (onCpu ? between(node, bytes) : 0));
    for (const tensor of ends.get(i) ?? []) if (!returned.has(tensor)) now -= bytes(tensor);
  });
  return { states, resident, live: live + fed };
}

/**
 * What a node holds beside its operands and outputs while it runs on the CPU: the gradient of a convolution's weight copies the
 * images on their way into the layout of its kernel, three times, and the gradients that come in once (conv-weight-blocks.ts).
 */
function between({ operator, inputs }: Node, bytes: (tensor: Tensor) => number): number {
  return operator === 'ConvWeight' ? 3 * bytes(inputs[0]) + bytes(inputs[1]) : 0;
}
