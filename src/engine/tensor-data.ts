/** Arrays of tensors: their types, their bytes, whether they are what an input takes, and what of them crosses between threads. */
import { S3aError } from '../errors.ts';
import type { DType, TensorData } from './graph.ts';
import { type Shape, showShape, sizeOf } from './shape.ts';

/** The JavaScript array that carries an element type; float16 travels as its bits. */
export const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const satisfies Record<DType, unknown>;

/** What an input or state takes. */
export interface Expected {
  readonly dtype: DType;
  readonly given: Shape;
}

/**
 * Checks arrays by name.
 * @param role what messages call them
 * @throws S3aError FEED when a name is unknown or an array is of the wrong type or length
 */
export function checkValues(
  values: Record<string, TensorData>,
  expected: ReadonlyMap<string, Expected>,
  role: 'input' | 'state',
): void {
  for (const [name, data] of Object.entries(values)) {
    const known = expected.get(name);
    if (!known) throw new S3aError('FEED', `there is no ${role} '${name}'`);
    const array = ARRAYS[known.dtype].name;
    const type = data?.constructor.name;
    if (type !== array || data.length !== sizeOf(known.given)) {
      throw new S3aError(
        'FEED',
        `${role} '${name}' takes ${array} of shape ${showShape(known.given)}, not ${type} of length ${data?.length}`,
      );
    }
  }
}

/** The bytes under an array, which they share. */
export function bytesOf({ buffer, byteOffset, byteLength }: TensorData): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Without the rest of a larger buffer, which the copy between threads would take along. */
export function compact(values: Record<string, TensorData>): Record<string, TensorData> {
  return Object.fromEntries(
    Object.entries(values).map(([name, data]) => [
      name,
      data.byteLength === data.buffer.byteLength ? data : data.slice(),
    ]),
  );
}

/** The memory under arrays, each once; what is shared between threads already cannot be moved. */
export function buffersOf(values: Record<string, TensorData>): ArrayBuffer[] {
  const buffers = Object.values(values).map(({ buffer }) => buffer);
  return [...new Set(buffers)].filter(buffer => buffer instanceof ArrayBuffer);
}
