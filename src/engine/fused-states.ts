/** States that a kernel updates after each run: their memory, which ONNX Runtime reads and writes too, and their updates. */
import type { FusedNorm } from './fused-norms.ts';
import type { TensorData } from './graph.ts';
import { SCALARS, type ScalarName, STRIDE, type UpdateKernel, updateKernel } from './update-kernel.ts';

/** An update with names in the place of tensors; a scalar is a number or the name of an output. */
export interface UpdatePlan {
  readonly weight: string;
  readonly first: string;
  readonly second: string;
  readonly average?: string;
  /** Elements of each of them. */
  readonly size: number;
  /** The output that holds the gradient. */
  readonly gradient: string;
  readonly scalars: Partial<Record<ScalarName, number | string>>;
  /** The output that says whether anything changes. */
  readonly applied?: string;
}

export interface FusedStates {
  /** The array of a state or gradient; undefined for what no update changes or reads. */
  arrayOf(name: string): Float32Array | undefined;
  /** Makes all updates; returns the norms by name, as arrays of one element. */
  update(outputs: (name: string) => TensorData): Record<string, Float32Array>;
}

/**
 * Bytes between arrays. Matrices are often whole pages of 4 KiB; arrays that begin at the same place of a page share sets of the
 * cache, and loads wait for stores to another array.
 */
const GAP = 13 * STRIDE;

/** Bytes of a weight that a call of the kernel takes: squares are summed up in float32 there, and in float64 after it. */
const PIECE = 2 ** 19;

/**
 * A memory holds some updates up to this size. One an update would take too much room: the runtime keeps some gigabytes of
 * addresses behind each memory free.
 */
const MEMORY = 2 ** 29;

/**
 * Lays out the states of updates, all zero.
 * @param norms of gradients of these updates
 */
export function fusedStates(plans: readonly UpdatePlan[], norms: readonly FusedNorm[]): FusedStates {
  const arrays = new Map<string, Float32Array>();
  const updates = new Map<string, (outputs: (name: string) => TensorData) => number>();
  for (const group of byMemory(plans)) {
    const kernel = updateKernel();
    const bytes = group.reduce((sum, plan) => sum + bytesOf(plan), STRIDE);
    kernel.memory.grow(Math.ceil(bytes / 65536));
    let end = STRIDE;
    for (const plan of group) {
      const length = stretch(plan.size);
      const addresses = namesOf(plan).map(name => {
        arrays.set(name, new Float32Array(kernel.memory.buffer, end, plan.size));
        end += length + GAP;
        return end - length - GAP;
      });
      updates.set(plan.weight, outputs => run(kernel, plan, addresses, length, outputs));
    }
  }
  return {
    arrayOf: name => arrays.get(name),
    update: outputs => {
      const squares = new Map([...updates].map(([weight, update]) => [weight, update(outputs)]));
      const sumOf = (weights: readonly string[]): number =>
        weights.reduce((sum, weight) => sum + squares.get(weight)!, 0);
      return Object.fromEntries(norms.map(({ name, weights }) => [name, Float32Array.of(Math.sqrt(sumOf(weights)))]));
    },
  };
}

/** Makes an update, unless its condition does not hold; returns the sum of the squares of its gradient. */
function run(
  kernel: UpdateKernel,
  { scalars, average, applied }: UpdatePlan,
  addresses: readonly number[],
  length: number,
  outputs: (name: string) => TensorData,
): number {
  if (applied !== undefined && !outputs(applied)[0]) return 0;
  const values = SCALARS.map(name => {
    const scalar = scalars[name] ?? 1;
    return typeof scalar === 'number' ? scalar : Number(outputs(scalar)[0]);
  }).slice(0, average === undefined ? 5 : 7);
  const update = average === undefined ? kernel.update : kernel.updateWithAverage;
  let squares = 0;
  for (let start = 0; start < length; start += PIECE) {
    const end = addresses[0] + Math.min(start + PIECE, length);
    squares += update(...addresses.map(address => address + start), end, ...values);
  }
  return squares;
}

/** The arrays of an update in the kernel's order. */
function namesOf({ weight, gradient, first, second, average }: UpdatePlan): string[] {
  return [weight, gradient, first, second, ...(average === undefined ? [] : [average])];
}

function stretch(size: number): number {
  return Math.ceil((4 * size) / STRIDE) * STRIDE;
}

function bytesOf(plan: UpdatePlan): number {
  return namesOf(plan).length * (stretch(plan.size) + GAP);
}

/** Updates that share a memory, in their order. */
export function byMemory(plans: readonly UpdatePlan[]): UpdatePlan[][] {
  const groups: UpdatePlan[][] = [];
  let bytes = Infinity;
  for (const plan of plans) {
    bytes += bytesOf(plan);
    if (bytes > MEMORY) {
      groups.push([]);
      bytes = bytesOf(plan);
    }
    groups.at(-1)!.push(plan);
  }
  return groups;
}
