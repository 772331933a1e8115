/** Just enough of an assembler to write inner loops as a WebAssembly module: JavaScript has no vectors. */

/** Instructions that leave a value, or that leave none, as the bytes of a module. */
export type Instructions = readonly number[];

/** Types of parameters and locals. */
export const [I32, I64, F32, F64, V128] = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];

export interface Code {
  readonly name: string;
  readonly parameters: readonly number[];
  /** Of what the body leaves; default nothing. */
  readonly results?: readonly number[];
  /** Types of the locals behind the parameters. */
  readonly locals: readonly number[];
  readonly body: readonly Instructions[];
}

/** Memory that JavaScript and the module's functions share. */
export interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

// TypeScript knows WebAssembly only together with a browser's whole library.
interface Runtime {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}
const { Module, Instance } = (globalThis as unknown as { WebAssembly: Runtime }).WebAssembly;

const unsigned = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...unsigned(Math.floor(value / 128))];
const signed = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
const list = (items: readonly Instructions[]): number[] => [...unsigned(items.length), ...items.flat()];
const section = (id: number, body: Instructions): number[] => [id, ...unsigned(body.length), ...body];
const text = (value: string): number[] => list([...new TextEncoder().encode(value)].map(byte => [byte]));

/** A function that makes instances of a module, each with a memory of its own. */
export function assemble<Exports>(codes: readonly Code[]): () => Exports & { readonly memory: Memory } {
  const types = codes.map(({ parameters, results = [] }) => [
    0x60,
    ...list(parameters.map(type => [type])),
    ...list(results.map(type => [type])),
  ]);
  const bodies = codes.map(({ locals, body }) => {
    const code = [...list(locals.map(type => [1, type])), ...body.flat(), 0x0b];
    return [...unsigned(code.length), ...code];
  });
  const exported = codes.map(({ name }, index) => [...text(name), 0, ...unsigned(index)]);
  const bytes = [
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list(types)),
    ...section(3, list(codes.map((_, index) => unsigned(index)))),
    ...section(5, list([[0, 1]])),
    ...section(7, list([...exported, [...text('memory'), 2, 0]])),
    ...section(10, list(bodies)),
  ];
  const module = new Module(Uint8Array.from(bytes));
  return () => new Instance(module).exports as Exports & { readonly memory: Memory };
}

/** Memory that an instance keeps from one use to the next, in bytes. */
const MOST_KEPT = 2 ** 26;

/**
 * A function that gives the thread's instance of a module, with at least so many bytes of memory, which hold anything; the next call
 * may give the same one. It throws RangeError when there are not so many.
 * @param codes made at the first use
 */
export function keptInstance<Exports>(
  codes: () => readonly Code[],
): (bytes: number) => Exports & { readonly memory: Memory } {
  let instantiate: (() => Exports & { readonly memory: Memory }) | undefined;
  let kept: (Exports & { readonly memory: Memory }) | undefined;
  return bytes => {
    instantiate ??= assemble<Exports>(codes());
    const instance = kept ?? instantiate();
    const missing = bytes - instance.memory.buffer.byteLength;
    if (missing > 0) instance.memory.grow(Math.ceil(missing / 2 ** 16));
    kept = instance.memory.buffer.byteLength > MOST_KEPT ? undefined : instance;
    return instance;
  };
}

const binary =
  (...opcode: number[]) =>
  (a: Instructions, b: Instructions): number[] => [...a, ...b, ...opcode];
const vector = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
const access =
  (...opcode: number[]) =>
  (address: Instructions, offset = 0): number[] => [...address, ...opcode, 0, ...unsigned(offset)];

export const get = (local: number): number[] => [0x20, ...unsigned(local)];
export const set = (local: number, value: Instructions): number[] => [...value, 0x21, ...unsigned(local)];
export const int = (value: number): number[] => [0x41, ...signed(value)];
export const long = (value: number): number[] => [0x42, ...signed(value)];
export const double = (value: number): number[] => [0x44, ...new Uint8Array(Float64Array.of(value).buffer)];
export const move = (local: number, by: Instructions): number[] => set(local, i32.add(get(local), by));

/** Repeats a body while the address in `pointer` is below that in `end`, at least once; the body moves the pointer. */
export const loop = (pointer: number, end: number, body: readonly Instructions[]): number[] => [
  ...[0x03, 0x40],
  ...body.flat(),
  ...[...get(pointer), ...get(end), 0x49, 0x0d, 0, 0x0b],
];

/** A body that runs as long as `condition`, which is looked at before, is not 0. */
export const whilst = (condition: Instructions, body: readonly Instructions[]): number[] => [
  ...[0x03, 0x40],
  ...[...condition, 0x04, 0x40],
  ...[...body.flat(), 0x0c, 1, 0x0b, 0x0b],
];

/** Repeats a body as long as `condition`, which is looked at after it, is not 0. */
export const repeat = (body: readonly Instructions[], condition: Instructions): number[] => [
  ...[0x03, 0x40],
  ...[...body.flat(), ...condition, 0x0d, 0, 0x0b],
];

/** A body that runs once if `condition` is not 0. */
export const when = (condition: Instructions, body: readonly Instructions[]): number[] => [
  ...[...condition, 0x04, 0x40],
  ...[...body.flat(), 0x0b],
];

/** Leaves the function with its result. */
export const leave = (value: Instructions): number[] => [...value, 0x0f];

/** One of two bodies, by whether `condition` is not 0. */
export const choose = (
  condition: Instructions,
  yes: readonly Instructions[],
  no: readonly Instructions[],
): number[] => [...[...condition, 0x04, 0x40], ...yes.flat(), ...[0x05, ...no.flat(), 0x0b]];

// Instructions by their names in the WebAssembly specification.
export const i32 = {
  load: access(0x28),
  load8: access(0x2d),
  isZero: (a: Instructions): number[] => [...a, 0x45],
  equal: binary(0x46),
  differ: binary(0x47),
  /** Of numbers without a sign. */
  less: binary(0x49),
  atLeast: binary(0x4f),
  add: binary(0x6a),
  mul: binary(0x6c),
  sub: binary(0x6b),
  and: binary(0x71),
  or: binary(0x72),
  shiftLeft: binary(0x74),
  shiftRight: binary(0x76),
  /** Zeros below the lowest bit. */
  ctz: (a: Instructions): number[] => [...a, 0x68],
  store: (address: Instructions, value: Instructions, offset = 0): number[] => [
    ...[...address, ...value, 0x36, 0],
    ...unsigned(offset),
  ],
  store8: (address: Instructions, value: Instructions): number[] => [...address, ...value, 0x3a, 0, 0],
  store16: (address: Instructions, value: Instructions): number[] => [...address, ...value, 0x3b, 0, 0],
  truncate: (a: Instructions): number[] => [...a, 0xaa],
  /** The lower half of 64 bits. */
  wrap: (a: Instructions): number[] => [...a, 0xa7],
};
export const i64 = {
  load: access(0x29),
  /** 32 bits with their sign. */
  load32: access(0x34),
  store: (address: Instructions, value: Instructions, offset = 0): number[] => [
    ...[...address, ...value, 0x37, 0],
    ...unsigned(offset),
  ],
  /** The lower 16 bits. */
  store16: (address: Instructions, value: Instructions): number[] => [...address, ...value, 0x3d, 0, 0],
  isZero: (a: Instructions): number[] => [...a, 0x50],
  add: binary(0x7c),
  sub: binary(0x7d),
  and: binary(0x83),
  or: binary(0x84),
  shiftLeft: binary(0x86),
  /** With the sign. */
  shiftRightSigned: binary(0x87),
  shiftRight: binary(0x88),
  extend: (a: Instructions): number[] => [...a, 0xad],
};
export const f32 = {
  add: binary(0x92),
  sub: binary(0x93),
  max: binary(0x97),
  store: (address: Instructions, value: Instructions, offset = 0): number[] => [
    ...[...address, ...value, 0x38, 0],
    ...unsigned(offset),
  ],
};
export const f64 = {
  less: binary(0x63),
  notLess: binary(0x66),
  floor: (a: Instructions): number[] => [...a, 0x9c],
  add: binary(0xa0),
  sub: binary(0xa1),
  mul: binary(0xa2),
};
export const v128 = {
  load: access(...vector(0x00)),
  /** Eight bytes as 16-bit lanes. */
  loadBytes: access(...vector(0x02)),
  loadSplat: access(...vector(0x09)),
  /** 64 bits into the lower half, and zeros. */
  loadHalf: access(...vector(0x5d)),
  store: (address: Instructions, value: Instructions, offset = 0): number[] => [
    ...[...address, ...value, ...vector(0x0b), 0],
    ...unsigned(offset),
  ],
  /** Stores lane 0 of 32 bits. */
  storeLane: (address: Instructions, value: Instructions): number[] => [
    ...[...address, ...value, ...vector(0x5a)],
    ...[0, 0, 0],
  ],
  /** Stores lane `lane` of 64 bits. */
  storeHalf: (address: Instructions, value: Instructions, lane: number): number[] => [
    ...[...address, ...value, ...vector(0x5b)],
    ...[0, 0, lane],
  ],
  constant: (bytes: readonly number[]): number[] => [...vector(0x0c), ...bytes],
  or: binary(...vector(0x50)),
  /** 1 where any bit is set. */
  anyTrue: (a: Instructions): number[] => [...a, ...vector(0x53)],
};
export const i8x16 = {
  shuffle: (a: Instructions, b: Instructions, bytes: readonly number[]): number[] => [
    ...[...a, ...b, ...vector(0x0d)],
    ...bytes,
  ],
  swizzle: binary(...vector(0x0e)),
  splat: (a: Instructions): number[] => [...a, ...vector(0x0f)],
  equal: binary(...vector(0x23)),
  /** The highest bits of the lanes, as the lowest of a number. */
  bitmask: (a: Instructions): number[] => [...a, ...vector(0x64)],
  narrow: binary(...vector(0x66)),
};
export const i16x8 = {
  splat: (a: Instructions): number[] => [...a, ...vector(0x10)],
  /** All ones where the first is larger, without a sign. */
  above: binary(...vector(0x32)),
  abs: (a: Instructions): number[] => [...a, ...vector(0x80)],
  narrow: binary(...vector(0x85)),
  extendLow: (a: Instructions): number[] => [...a, ...vector(0x89)],
  extendHigh: (a: Instructions): number[] => [...a, ...vector(0x8a)],
  /** With the sign. */
  shiftRight: (a: Instructions, by: number): number[] => [...a, ...int(by), ...vector(0x8c)],
  add: binary(...vector(0x8e)),
  sub: binary(...vector(0x91)),
  mul: binary(...vector(0x95)),
  /** (a·b + 2¹⁴) / 2¹⁵, rounded down. */
  mulFraction: binary(...vector(0x82)),
};
export const i32x4 = {
  splat: (a: Instructions): number[] => [...a, ...vector(0x11)],
  add: binary(...vector(0xae)),
  /** The highest bits of the lanes, as the lowest of a number. */
  bitmask: (a: Instructions): number[] => [...a, ...vector(0xa4)],
  /** From numbers in float32, cut towards zero. */
  truncateFloats: (a: Instructions): number[] => [...a, ...vector(0xf8)],
  shiftLeft: (a: Instructions, by: number): number[] => [...a, ...int(by), ...vector(0xab)],
  shiftRight: (a: Instructions, by: number): number[] => [...a, ...int(by), ...vector(0xac)],
  /** Of each two neighbouring signed 16-bit lanes, the sum of the products. */
  dot: binary(...vector(0xba)),
  sub: binary(...vector(0xb1)),
  /** Two numbers in float64 as whole ones in the first two lanes, cut towards zero. */
  truncate: (a: Instructions): number[] => [...a, ...vector(0xfc)],
};
export const f32x4 = {
  splat: (a: Instructions): number[] => [...a, ...vector(0x13)],
  lane: (a: Instructions, index: number): number[] => [...a, ...vector(0x1f), index],
  atLeast: binary(...vector(0x46)),
  nearest: (a: Instructions): number[] => [...a, ...vector(0x6a)],
  /** From whole numbers of 32 bits. */
  convert: (a: Instructions): number[] => [...a, ...vector(0xfa)],
  sqrt: (a: Instructions): number[] => [...a, ...vector(0xe3)],
  add: binary(...vector(0xe4)),
  sub: binary(...vector(0xe5)),
  mul: binary(...vector(0xe6)),
  div: binary(...vector(0xe7)),
  min: binary(...vector(0xe8)),
  max: binary(...vector(0xe9)),
  /** The processor's own maximum, without rules for NaN and −0. */
  pseudoMax: binary(...vector(0xeb)),
};
export const f64x2 = {
  lane: (a: Instructions, index: number): number[] => [...a, ...vector(0x21), index],
  /** The first two lanes of float32. */
  promoteLow: (a: Instructions): number[] => [...a, ...vector(0x5f)],
  splat: (a: Instructions): number[] => [...a, ...vector(0x14)],
  /** The first two lanes of 32 bits. */
  convertLow: (a: Instructions): number[] => [...a, ...vector(0xfe)],
  add: binary(...vector(0xf0)),
  sub: binary(...vector(0xf1)),
  mul: binary(...vector(0xf2)),
  min: binary(...vector(0xf4)),
  max: binary(...vector(0xf5)),
};
