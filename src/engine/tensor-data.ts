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

/** Values by name: flat arrays in row-major order; those of shape [] may be numbers. */
export type Feeds = Readonly<Record<string, TensorData | number>>;

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
    if (data?.constructor.name !== array || data.length !== sizeOf(known.given)) {
      throw new S3aError(
        'FEED',
        `${role} '${name}' takes ${array} of shape ${showShape(known.given)}, not ${kindOf(data)}`,
      );
    }
  }
}

/** What a value is, for messages: `Float32Array of length 4`, `number 0.1`, `undefined`. */
export function kindOf(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'string') return `the ${typeof value} ${JSON.stringify(value)}`;
  if (typeof value !== 'object' || value === null) return String(value);
  const type = value.constructor?.name ?? 'Object';
  return 'length' in value ? `${type} of length ${String(value.length)}` : type;
}

/** Arrays in the place of the numbers that scalars are given as; everything else is left as it is, for `checkValues`. */
export function asArrays(values: Feeds, expected: ReadonlyMap<string, Expected>): Record<string, TensorData> {
  const numbers = Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  if (numbers.length === 0) return values as Record<string, TensorData>;
  const arrays = numbers.map(([name, value]) => [name, asScalar(value, expected.get(name)) ?? value]);
  return { ...values, ...Object.fromEntries(arrays) };
}

/** Undefined for what is no scalar, or of a type that cannot hold the number; arrays of float16 hold bits. */
function asScalar(value: number, expected: Expected | undefined): TensorData | undefined {
  if (expected?.given.length !== 0) return undefined;
  const { dtype } = expected;
  if (dtype === 'float32' || dtype === 'float64') return new ARRAYS[dtype]([value]);
  if (dtype === 'float16' || !Number.isInteger(value)) return undefined;
  return dtype === 'int64' ? BigInt64Array.of(BigInt(value)) : new ARRAYS[dtype]([value]);
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
