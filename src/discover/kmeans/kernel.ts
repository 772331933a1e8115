/** The inner loops of exact k-means as a WebAssembly module: ONNX Runtime has no product that skips, and JavaScript no vectors. */

/** Centres that one call compares with an image. */
export const GROUP = 4;

/** Functions on addresses in the module's memory. */
export interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  /** Dot products of a row with `GROUP` successive rows at `centres`, as float32 at `out`. */
  dots(row: number, centres: number, out: number): void;
  /** As `dots`, with rows that may lie anywhere; and with two of them. */
  dotsAt(row: number, a: number, b: number, c: number, d: number, out: number): void;
  pairAt(row: number, a: number, b: number, out: number): void;
  /** The dot product with one row, the same number to the last bit. */
  dot(row: number, centre: number): number;
  /**
   * Of the float32 scores from one address to another, whole vectors of `GROUP`, the numbers of those that are at most
   * `margin` below the greatest, as int32 at `out`; returns how many.
   */
  candidates(scores: number, end: number, margin: number, out: number): number;
  /** Reads a word of every line of a row, so that it lies in the processor's caches soon. */
  touch(row: number): number;
  /** The squared length of a row in float64. */
  square(row: number): number;
  /** Adds a row to a float64 row, or takes it away (`sign` −1), after rounding to the grid that `magic` stands for. */
  add(row: number, sum: number, magic: number, sign: number): void;
  /**
   * Writes (row − mean) / step, rounded and kept within ±`most`, plus `zero`, as bytes. The squared length of row − mean is
   * stored at `out` as float32, that of what rounding and the limits took away behind it.
   */
  quantise(row: number, mean: number, bytes: number, step: number, most: number, zero: number, out: number): void;
}

/** Rows of a kernel's memory are padded to a multiple of this with zeros. */
const LANES = 16;

/** The padded width of rows. */
export const paddedWidth = (width: number): number => Math.ceil(width / LANES) * LANES;

// TypeScript knows WebAssembly only together with a browser's whole library.
interface Runtime {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}
const { Module, Instance } = (globalThis as unknown as { WebAssembly: Runtime }).WebAssembly;
const modules = new Map<number, object>();

// Kernels that were given back, by their widths. Compiled JavaScript that calls one is thrown away together with it.
const spare = new Map<number, Kernel>();
const [MOST_SPARE, SPARE_MS] = [2 ** 27, 10_000];

/** A kernel as `makeKernel` gives it, or one that was given back: its memory has some size and holds anything. */
export function takeKernel(width: number): Kernel {
  const kernel = spare.get(width) ?? makeKernel(width);
  spare.delete(width);
  return kernel;
}

/** Gives a kernel back; for some seconds `takeKernel` may return it, unless its memory is large. */
export function returnKernel(width: number, kernel: Kernel): void {
  if (kernel.memory.buffer.byteLength > MOST_SPARE) return;
  spare.set(width, kernel);
  setTimeout(() => {
    if (spare.get(width) === kernel) spare.delete(width);
  }, SPARE_MS).unref();
}

/** A kernel for rows of `width` values (a padded width) with a memory of its own. */
export function makeKernel(width: number): Kernel {
  let module = modules.get(width);
  if (!module) {
    module = new Module(kernelBytes(width));
    modules.set(width, module);
  }
  return new Instance(module).exports as Kernel;
}

const [I32, F32, F64, V128] = [0x7f, 0x7d, 0x7c, 0x7b];

const unsigned = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...unsigned(Math.floor(value / 128))];
const signed = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
const list = (items: readonly (readonly number[])[]): number[] => [...unsigned(items.length), ...items.flat()];
const section = (id: number, body: readonly number[]): number[] => [id, ...unsigned(body.length), ...body];
const text = (value: string): number[] => list([...new TextEncoder().encode(value)].map(byte => [byte]));

// Instructions by their names in the WebAssembly specification.
const get = (local: number): number[] => [0x20, ...unsigned(local)];
const set = (local: number): number[] => [0x21, ...unsigned(local)];
const tee = (local: number): number[] => [0x22, ...unsigned(local)];
const int = (value: number): number[] => [0x41, ...signed(value)];
const vector = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
const load = (offset: number): number[] => [...vector(0x00), 2, ...unsigned(offset)];
const store = (offset: number): number[] => [...vector(0x0b), 2, ...unsigned(offset)];
const lane = (index: number): number[] => [...vector(0x1f), index];
const doubleLane = (index: number): number[] => [...vector(0x21), index];
const [I32_ADD, I32_SUB, I32_AND, I32_LESS, I32_SHIFT, I32_CTZ] = [[0x6a], [0x6b], [0x71], [0x49], [0x76], [0x68]];
const [F32_ADD, F32_SUB, F32_MAX, F64_ADD] = [[0x92], [0x93], [0x97], [0xa0]];
const I32_OR = [0x72];
const loadInt = (offset: number): number[] => [0x28, 2, ...unsigned(offset)];
const storeInt = (offset: number): number[] => [0x36, 2, ...unsigned(offset)];
const storeFloat = (offset: number): number[] => [0x38, 2, ...unsigned(offset)];
const f32x4 = {
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
const BITMASK = vector(0xa4);
const TRUNCATE = vector(0xf8);
const [NARROW_TO_16, NARROW_TO_BYTES] = [vector(0x85), vector(0x66)];
const f64x2 = { splat: vector(0x14), promote: vector(0x5f), add: vector(0xf0), sub: vector(0xf1), mul: vector(0xf2) };
const loadHalf = (offset: number): number[] => [...vector(0x5d), 3, ...unsigned(offset)];
const ZERO = [...vector(0x0c), ...new Array<number>(16).fill(0)];

/** Repeats a body while the address in `pointer` is below that in `end`; the body moves the pointer. */
const loop = (pointer: number, end: number, body: readonly number[]): number[] => [
  ...[0x03, 0x40],
  ...body,
  ...[...get(pointer), ...get(end), ...I32_LESS, 0x0d, 0, 0x0b],
];
const move = (pointer: number, by: number): number[] => [...get(pointer), ...int(by), ...I32_ADD, ...set(pointer)];
const repeat = (count: number, body: (index: number) => readonly number[]): number[] =>
  Array.from({ length: count }, (_, index) => body(index)).flat();
/** A body that runs again as long as what it leaves on the stack is not zero. */
const again = (body: readonly number[]): number[] => [0x03, 0x40, ...body, 0x0d, 0, 0x0b];
const when = (condition: readonly number[], body: readonly number[]): number[] => [
  ...condition,
  ...[0x04, 0x40],
  ...body,
  0x0b,
];
/** (0 + 1) + (2 + 3) of a vector's lanes. */
const total = (local: number): number[] => [
  ...[...get(local), ...lane(0), ...get(local), ...lane(1), ...F32_ADD],
  ...[...get(local), ...lane(2), ...get(local), ...lane(3), ...F32_ADD, ...F32_ADD],
];

interface Code {
  readonly name: string;
  readonly parameters: readonly number[];
  readonly results?: readonly number[];
  /** Types of the locals behind the parameters. */
  readonly locals: readonly number[];
  readonly body: readonly number[];
}

function kernelBytes(width: number): Uint8Array<ArrayBuffer> {
  const codes = [
    dotsCode(width),
    dotsAtCode('dotsAt', GROUP, width),
    dotsAtCode('pairAt', 2, width),
    dotCode(width),
    candidatesCode(),
    touchCode(width),
    squareCode(width),
    addCode(width),
    quantiseCode(width),
  ];
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

/** Stores the sum of a product's two vectors, `even` and the local behind it, as number `c` at `out`. */
const storeTotal = (out: number, c: number, even: number): number[] => [
  ...[...get(even), ...get(even + 1), ...f32x4.add, ...set(even)],
  ...[...get(out), ...total(even), ...storeFloat(4 * c)],
];

// Each product has two sums, of even and of odd vectors: one alone would wait for its own additions.
function dotsCode(width: number): Code {
  const [row, centres, out, end, x, first] = [0, 1, 2, 3, 4, 5];
  const step = (i: number): number[] => [
    ...[...get(row), ...load(16 * i), ...set(x)],
    ...repeat(GROUP, c => {
      const sum = first + 2 * c + (i % 2);
      return [
        ...[...get(sum), ...get(x), ...get(centres), ...load(4 * c * width + 16 * i)],
        ...[...f32x4.mul, ...f32x4.add, ...set(sum)],
      ];
    }),
  ];
  return {
    name: 'dots',
    parameters: [I32, I32, I32],
    locals: [I32, V128, ...new Array<number>(2 * GROUP).fill(V128)],
    body: [
      ...[...get(row), ...int(4 * width), ...I32_ADD, ...set(end)],
      ...loop(row, end, [...repeat(4, step), ...move(row, 64), ...move(centres, 64)]),
      ...repeat(GROUP, c => storeTotal(out, c, first + 2 * c)),
    ],
  };
}

function dotsAtCode(name: string, count: number, width: number): Code {
  const [row, at, out, end, x, first] = [0, 1, 1 + count, 2 + count, 3 + count, 4 + count];
  const step = (i: number): number[] => [
    ...[...get(row), ...load(16 * i), ...set(x)],
    ...repeat(count, c => {
      const sum = first + 2 * c + (i % 2);
      return [
        ...[...get(sum), ...get(x), ...get(at + c), ...load(16 * i)],
        ...[...f32x4.mul, ...f32x4.add, ...set(sum)],
      ];
    }),
  ];
  return {
    name,
    parameters: new Array<number>(2 + count).fill(I32),
    locals: [I32, V128, ...new Array<number>(2 * count).fill(V128)],
    body: [
      ...[...get(row), ...int(4 * width), ...I32_ADD, ...set(end)],
      ...loop(row, end, [...repeat(4, step), ...move(row, 64), ...repeat(count, c => move(at + c, 64))]),
      ...repeat(count, c => storeTotal(out, c, first + 2 * c)),
    ],
  };
}

function dotCode(width: number): Code {
  const [row, centre, end, even] = [0, 1, 2, 3];
  return {
    name: 'dot',
    parameters: [I32, I32],
    results: [F32],
    locals: [I32, V128, V128],
    body: [
      ...[...get(row), ...int(4 * width), ...I32_ADD, ...set(end)],
      ...loop(row, end, [
        ...repeat(4, i => {
          const sum = even + (i % 2);
          return [
            ...[...get(sum), ...get(row), ...load(16 * i), ...get(centre), ...load(16 * i)],
            ...[...f32x4.mul, ...f32x4.add, ...set(sum)],
          ];
        }),
        ...[...move(row, 64), ...move(centre, 64)],
      ]),
      ...[...get(even), ...get(even + 1), ...f32x4.add, ...set(even)],
      ...total(even),
    ],
  };
}

function candidatesCode(): Code {
  const [scores, end, margin, out, at, pointer, column, mask, top, sure] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const start = [...get(scores), ...set(pointer)];
  return {
    name: 'candidates',
    parameters: [I32, I32, F32, I32],
    results: [I32],
    locals: [I32, I32, I32, I32, V128, V128],
    body: [
      ...[...get(scores), ...load(0), ...set(top), ...start],
      ...loop(pointer, end, [
        ...[...get(top), ...get(pointer), ...load(0), ...f32x4.greater, ...set(top)],
        ...move(pointer, 16),
      ]),
      ...[...get(top), ...lane(0), ...get(top), ...lane(1), ...F32_MAX],
      ...[...get(top), ...lane(2), ...F32_MAX, ...get(top), ...lane(3), ...F32_MAX],
      ...[...get(margin), ...F32_SUB, ...f32x4.splat, ...set(sure)],
      ...[...start, ...get(out), ...set(at)],
      ...loop(pointer, end, [
        ...[...get(pointer), ...load(0), ...get(sure), ...f32x4.atLeast, ...BITMASK, ...set(mask)],
        ...when(
          get(mask),
          again([
            ...[...get(at), ...get(column), ...get(mask), ...I32_CTZ, ...I32_ADD, ...storeInt(0), ...move(at, 4)],
            // Without its lowest bit.
            ...[...get(mask), ...get(mask), ...int(1), ...I32_SUB, ...I32_AND, ...tee(mask)],
          ]),
        ),
        ...[...move(column, 4), ...move(pointer, 16)],
      ]),
      ...[...get(at), ...get(out), ...I32_SUB, ...int(2), ...I32_SHIFT],
    ],
  };
}

function touchCode(width: number): Code {
  const line = 64;
  return {
    name: 'touch',
    parameters: [I32],
    results: [I32],
    locals: [],
    body: [...int(0), ...repeat(Math.ceil((4 * width) / line), i => [...get(0), ...loadInt(line * i), ...I32_OR])],
  };
}

function squareCode(width: number): Code {
  const [row, end, x, sum] = [0, 1, 2, 3];
  return {
    name: 'square',
    parameters: [I32],
    results: [F64],
    locals: [I32, V128, V128, V128],
    body: [
      ...[...get(row), ...int(4 * width), ...I32_ADD, ...set(end)],
      ...loop(row, end, [
        ...repeat(8, i => [
          ...[...get(row), ...loadHalf(8 * i), ...f64x2.promote, ...tee(x)],
          ...[...get(x), ...f64x2.mul, ...get(sum + (i % 2)), ...f64x2.add, ...set(sum + (i % 2))],
        ]),
        ...move(row, 64),
      ]),
      ...[...get(sum), ...get(sum + 1), ...f64x2.add, ...set(sum)],
      ...[...get(sum), ...doubleLane(0), ...get(sum), ...doubleLane(1), ...F64_ADD],
    ],
  };
}

function addCode(width: number): Code {
  const [row, sum, magic, sign, end, grid, factor] = [0, 1, 2, 3, 4, 5, 6];
  return {
    name: 'add',
    parameters: [I32, I32, F64, F64],
    locals: [I32, V128, V128],
    body: [
      ...[...get(row), ...int(4 * width), ...I32_ADD, ...set(end)],
      ...[...get(magic), ...f64x2.splat, ...set(grid), ...get(sign), ...f64x2.splat, ...set(factor)],
      ...loop(row, end, [
        ...repeat(4, i => [
          ...[...get(sum), ...get(sum), ...load(16 * i)],
          // Adding and taking away a number of the grid's size leaves a multiple of the grid.
          ...[
            ...get(row),
            ...loadHalf(8 * i),
            ...f64x2.promote,
            ...get(grid),
            ...f64x2.add,
            ...get(grid),
            ...f64x2.sub,
          ],
          ...[...get(factor), ...f64x2.mul, ...f64x2.add, ...store(16 * i)],
        ]),
        ...[...move(row, 32), ...move(sum, 64)],
      ]),
    ],
  };
}

function quantiseCode(width: number): Code {
  const [row, mean, bytes, step, most, zero, out] = [0, 1, 2, 3, 4, 5, 6];
  const [end, scale, high, low, middle, values, errors, y, first] = [7, 8, 9, 10, 11, 12, 13, 14, 15];
  const part = (i: number): number[] => [
    ...[...get(row), ...load(16 * i), ...get(mean), ...load(16 * i), ...f32x4.sub, ...tee(y)],
    ...[...get(y), ...f32x4.mul, ...get(values), ...f32x4.add, ...set(values)],
    ...[...get(y), ...get(scale), ...f32x4.div, ...f32x4.nearest],
    ...[...get(high), ...f32x4.min, ...get(low), ...f32x4.max, ...set(first + i)],
    ...[...get(y), ...get(first + i), ...get(scale), ...f32x4.mul, ...f32x4.sub, ...tee(y)],
    ...[...get(y), ...f32x4.mul, ...get(errors), ...f32x4.add, ...set(errors)],
    ...[...get(first + i), ...get(middle), ...f32x4.add, ...TRUNCATE, ...set(first + i)],
  ];
  const splat = (from: number, to: number): number[] => [...get(from), ...f32x4.splat, ...set(to)];
  return {
    name: 'quantise',
    parameters: [I32, I32, I32, F32, F32, F32, I32],
    locals: [I32, ...new Array<number>(11).fill(V128)],
    body: [
      ...[...get(row), ...int(4 * width), ...I32_ADD, ...set(end)],
      ...[...splat(step, scale), ...splat(most, high), ...splat(zero, middle)],
      ...[...ZERO, ...get(high), ...f32x4.sub, ...set(low)],
      ...loop(row, end, [
        ...repeat(4, part),
        ...[...get(bytes), ...get(first), ...get(first + 1), ...NARROW_TO_16],
        ...[...get(first + 2), ...get(first + 3), ...NARROW_TO_16, ...NARROW_TO_BYTES, ...store(0)],
        ...[...move(row, 64), ...move(mean, 64), ...move(bytes, 16)],
      ]),
      ...[...get(out), ...total(values), ...storeFloat(0)],
      ...[...get(out), ...total(errors), ...storeFloat(4)],
    ],
  };
}
