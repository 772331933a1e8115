/** WebAssembly modules written by hand: instructions by their names in the specification, as bytes. */

export const [I32, F32, F64, V128] = [0x7f, 0x7d, 0x7c, 0x7b];

const unsigned = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...unsigned(Math.floor(value / 128))];
const signed = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
const list = (items: readonly (readonly number[])[]): number[] => [...unsigned(items.length), ...items.flat()];
const section = (id: number, body: readonly number[]): number[] => [id, ...unsigned(body.length), ...body];
const text = (value: string): number[] => list([...new TextEncoder().encode(value)].map(byte => [byte]));

// Instructions by their names in the WebAssembly specification.
export const get = (local: number): number[] => [0x20, ...unsigned(local)];
export const set = (local: number): number[] => [0x21, ...unsigned(local)];
export const tee = (local: number): number[] => [0x22, ...unsigned(local)];
export const int = (value: number): number[] => [0x41, ...signed(value)];
export const vector = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
export const load = (offset: number): number[] => [...vector(0x00), 2, ...unsigned(offset)];
export const store = (offset: number): number[] => [...vector(0x0b), 2, ...unsigned(offset)];
export const lane = (index: number): number[] => [...vector(0x1f), index];
export const doubleLane = (index: number): number[] => [...vector(0x21), index];
export const i32 = { add: [0x6a], sub: [0x6b], and: [0x71], or: [0x72], less: [0x49], shift: [0x76], ctz: [0x68] };
export const f32 = { add: [0x92], sub: [0x93], max: [0x97] };
export const F64_ADD = [0xa0];
export const loadInt = (offset: number): number[] => [0x28, 2, ...unsigned(offset)];
export const storeInt = (offset: number): number[] => [0x36, 2, ...unsigned(offset)];
export const storeFloat = (offset: number): number[] => [0x38, 2, ...unsigned(offset)];
export const f32x4 = {
  splat: vector(0x13),
  nearest: vector(0x6a),
  add: vector(0xe4),
  sub: vector(0xe5),
  mul: vector(0xe6),
  div: vector(0xe7),
  min: vector(0xe8),
  max: vector(0xe9),
  // The processor's own maximum, without rules for NaN and −0.
  greater: vector(0xeb),
  atLeast: vector(0x46),
};
export const BITMASK = vector(0xa4);
export const TRUNCATE = vector(0xf8);
export const [NARROW_TO_16, NARROW_TO_BYTES] = [vector(0x85), vector(0x66)];
export const f64x2 = {
  splat: vector(0x14),
  promote: vector(0x5f),
  add: vector(0xf0),
  sub: vector(0xf1),
  mul: vector(0xf2),
};
export const loadHalf = (offset: number): number[] => [...vector(0x5d), 3, ...unsigned(offset)];
export const ZERO = [...vector(0x0c), ...new Array<number>(16).fill(0)];

/** Repeats a body while the address in `pointer` is below that in `end`; the body moves the pointer. */
export const loop = (pointer: number, end: number, body: readonly number[]): number[] => [
  ...[0x03, 0x40],
  ...body,
  ...[...get(pointer), ...get(end), ...i32.less, 0x0d, 0, 0x0b],
];
export const move = (pointer: number, by: number): number[] => [
  ...get(pointer),
  ...int(by),
  ...i32.add,
  ...set(pointer),
];
export const repeat = (count: number, body: (index: number) => readonly number[]): number[] =>
  Array.from({ length: count }, (_, index) => body(index)).flat();
/** A body that runs again as long as what it leaves on the stack is not zero. */
export const again = (body: readonly number[]): number[] => [0x03, 0x40, ...body, 0x0d, 0, 0x0b];
export const when = (condition: readonly number[], body: readonly number[]): number[] => [
  ...condition,
  ...[0x04, 0x40],
  ...body,
  0x0b,
];

/** One exported function. */
export interface Code {
  readonly name: string;
  readonly parameters: readonly number[];
  readonly results?: readonly number[];
  /** Types of the locals behind the parameters. */
  readonly locals: readonly number[];
  readonly body: readonly number[];
}

/** (0 + 1) + (2 + 3) of a vector's lanes. */
export const total = (local: number): number[] => [
  ...[...get(local), ...lane(0), ...get(local), ...lane(1), ...f32.add],
  ...[...get(local), ...lane(2), ...get(local), ...lane(3), ...f32.add, ...f32.add],
];

/** The bytes of a module with these functions and a memory of its own, exported as `memory`. */
export function moduleBytes(codes: readonly Code[]): Uint8Array<ArrayBuffer> {
  const types = codes.map(({ parameters, results = [] }) => [
    0x60,
    ...list(parameters.map(type => [type])),
    ...list(results.map(type => [type])),
  ]);
  const bodies = codes.map(({ locals, body }) => {
    const code = [...list(locals.map(type => [1, type])), ...body, 0x0b];
    return [...unsigned(code.length), ...code];
  });
  const exported = codes.map(({ name }, index) => [...text(name), 0, ...unsigned(index)]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list(types)),
    ...section(3, list(codes.map((_, index) => unsigned(index)))),
    ...section(5, list([[0, 1]])),
    ...section(7, list([...exported, [...text('memory'), 2, 0]])),
    ...section(10, list(bodies)),
  ]);
}
