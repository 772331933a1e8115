/** States on the host, in buffers that ONNX Runtime reads and writes without a copy. */
import { Tensor } from 'onnxruntime-node';
import { copyCommon } from './copy-common.ts';
import { discard } from './discard.ts';
import type { FusedStates } from './fused-states.ts';
import type { DType, TensorData } from './graph.ts';
import type { PlannedInput } from './session-plan.ts';
import { type Shape, sizeOf } from './shape.ts';
import { ARRAYS } from './tensor-data.ts';

/** A tensor with the array under it: where Float16Array exists, the tensor's own view of float16 bits is another one. */
export interface Slot {
  readonly data: TensorData;
  readonly tensor: Tensor;
}

/** The states of a session by name. */
export interface HostStates {
  /** A state; one that was never set is zero, and has its memory only now. */
  slot(name: string): Slot;
  /** Puts another slot into a state's place and returns the one that was there. */
  exchange(name: string, slot: Slot): Slot;
  /** Takes arrays as values of states, or copies them; either way they are not the caller's any more. */
  set(values: Record<string, TensorData>): void;
  /** A copy of a state as the caller knows it. */
  valuesOf(name: string): TensorData;
  /** Gives the memory of states back; they are zero again if somebody asks. */
  forget(names: readonly string[]): void;
  /** Memory for a value that is no state. */
  blank(name: string, dtype: DType, shape: Shape): Slot;
}

/** Makes room for the states of a plan, each when it is first asked for; what `fused` updates lies in its memory. */
export function hostStates(inputs: readonly PlannedInput[], fused: FusedStates): HostStates {
  const known = new Map(inputs.map(input => [input.name, input]));
  const current = new Map<string, Slot>();
  const blank = (name: string, dtype: DType, shape: Shape): Slot =>
    slotOf(dtype, fused.arrayOf(name) ?? new ARRAYS[dtype](sizeOf(shape)), shape);
  const slot = (name: string): Slot => {
    const there = current.get(name);
    if (there) return there;
    const { dtype, shape } = known.get(name)!;
    const made = blank(name, dtype, shape);
    current.set(name, made);
    return made;
  };
  return {
    blank,
    slot,
    exchange(name, other) {
      const before = slot(name);
      current.set(name, other);
      return before;
    },
    set(values) {
      // What arrives takes the place of the slot's array, so that large weights are never held twice; memory that threads share
      // stays the caller's and is copied. So is an array that came under several names (a student and a teacher that start
      // alike): it arrives as one, and each state needs memory of its own.
      const taken = new Set<ArrayBufferLike>();
      const copied: TensorData[] = [];
      for (const [name, data] of Object.entries(values)) {
        const { dtype, shape, given } = known.get(name)!;
        const fits = data.length === sizeOf(shape);
        if (fits && data.buffer instanceof ArrayBuffer && !taken.has(data.buffer) && !fused.arrayOf(name)) {
          taken.add(data.buffer);
          current.set(name, slotOf(dtype, data, shape));
        } else {
          copyCommon(data, given, slot(name).data, shape);
          copied.push(data);
        }
      }
      discard(copied.filter(({ buffer }) => !taken.has(buffer)));
    },
    valuesOf(name) {
      const { data } = slot(name);
      const { dtype, shape, given } = known.get(name)!;
      // Not a view: the message that takes it along would take the whole memory of a kernel.
      if (data.length === sizeOf(given)) return data.slice();
      const values = new ARRAYS[dtype](sizeOf(given));
      copyCommon(data, shape, values, given);
      return values;
    },
    forget(names) {
      discard(names.map(name => slot(name).data));
      for (const name of names) current.delete(name);
    },
  };
}

/** A tensor over an array, which it shares. */
export function slotOf(dtype: DType, data: TensorData, shape: Shape): Slot {
  return { data, tensor: new Tensor(dtype, data as Float32Array, shape) };
}
