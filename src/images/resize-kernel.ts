/** The two passes of a resize in vectors, with the same sums modulo 2³² as one 22-bit weight after the other. */
import {
  type Code,
  get,
  I32,
  type Instructions,
  i8x16,
  i16x8,
  i32,
  i32x4,
  int,
  keptInstance,
  loop,
  type Memory,
  move,
  set,
  V128,
  v128,
} from '../wasm.ts';

/** Bits behind the binary point of a weight (Pillow's PRECISION_BITS = 32 − 8 − 2). */
export const PRECISION = 22;

/** A weight is HIGH · 2^SPLIT + LOW with halves of 16 bits, since products of these are added in pairs by one instruction. */
export const SPLIT = 12;

/** Source pixels taken at once: along a row what a vector holds of whole pixels, in pairs; down a column a pair. */
export const [ROW_TAPS, COLUMN_TAPS] = [4, 2];

const ROUND = i32x4.splat(int(1 << (PRECISION - 1)));
const ZERO = i32x4.splat(int(0));

/** Adds to the sums of high and low halves at `high` and `high` + 1 those of two taps, whose weights are in two locals. */
const accumulate = (high: number, taps: number, weight: number): number[] => [
  ...set(high, i32x4.add(get(high), i32x4.dot(get(taps), get(weight)))),
  ...set(high + 1, i32x4.add(get(high + 1), i32x4.dot(get(taps), get(weight + 1)))),
];
const start = (high: number): number[] => [...set(high, ZERO), ...set(high + 1, ROUND)];
const total = (high: number): number[] =>
  i32x4.shiftRight(i32x4.add(i32x4.shiftLeft(get(high), SPLIT), get(high + 1)), PRECISION);
const loadWeights = (to: number, from: number, offset: number): number[] => [
  ...set(to, v128.loadSplat(get(from), offset)),
  ...set(to + 1, v128.loadSplat(get(from), offset + 4)),
];

/** The bytes of two neighbouring pixels as 16-bit lanes r r g g b b 0 0. */
const pairOfPixels = (pixel: number, at: number): number[] => {
  const [none, p, q] = [0x80, 3 * at, 3 * at + 3];
  const lanes = [p, q, p + 1, q + 1, p + 2, q + 2].flatMap(byte => [byte, none]);
  return i8x16.swizzle(get(pixel), v128.constant([...lanes, none, none, none, none]));
};

/** Two source rows, `stride` apart, to two of `toStride`; of every pixel 4 bytes are written, and the last by the next again. */
function alongRows(): Code {
  const [source, stride, to, toStride, end, firsts, firstsEnd, weights, weightsStride] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [out, x, upper, lower, tap, tapEnd] = [9, 10, 11, 12, 13, 14];
  const [upperSum, lowerSum, weight, pixels, pair] = [15, 17, 19, 21, 22];
  const row = (pixel: number, sum: number, at: number): Instructions[] => [
    set(pair, pairOfPixels(pixel, at)),
    accumulate(sum, pair, weight),
  ];
  const both: Instructions[] = [0, 2].flatMap(at => [
    loadWeights(weight, tap, 4 * at),
    ...row(pixels, upperSum, at),
    ...row(pixels + 2, lowerSum, at),
  ]);
  const write = (sum: number, address: Instructions): Instructions[] => [
    set(pair, total(sum)),
    set(pair, i16x8.narrow(get(pair), get(pair))),
    v128.storeLane(address, i8x16.narrow(get(pair), get(pair))),
  ];
  return {
    name: 'alongRows',
    parameters: new Array<number>(9).fill(I32),
    locals: [...new Array<number>(6).fill(I32), ...new Array<number>(9).fill(V128)],
    body: [
      loop(to, end, [
        [set(out, get(to)), set(x, get(firsts)), set(tap, get(weights))].flat(),
        loop(x, firstsEnd, [
          set(upper, i32.add(get(source), i32.load(get(x)))),
          set(lower, i32.add(get(upper), get(stride))),
          set(tapEnd, i32.add(get(tap), get(weightsStride))),
          ...[start(upperSum), start(lowerSum)],
          loop(tap, tapEnd, [
            set(pixels, v128.load(get(upper))),
            set(pixels + 2, v128.load(get(lower))),
            ...both,
            ...[move(upper, int(3 * ROW_TAPS)), move(lower, int(3 * ROW_TAPS)), move(tap, int(4 * ROW_TAPS))],
          ]),
          ...write(upperSum, get(out)),
          ...write(lowerSum, i32.add(get(out), get(toStride))),
          ...[move(out, int(3)), move(x, int(4))],
        ]),
        move(source, i32.mul(get(stride), int(2))),
        move(to, i32.mul(get(toStride), int(2))),
      ]),
    ],
  };
}

/** Rows of `length` bytes, 16 bytes at a time; what the last 16 of a row write too much, the next row writes again. */
function downColumns(): Code {
  const [source, stride, to, length, end, firsts, weights, weightsStride] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [out, outEnd, block, at, tap, tapEnd] = [8, 9, 10, 11, 12, 13];
  const [sums, weight, upper, lower, pair, bytes] = [14, 22, 24, 25, 26, 27];
  const interleaved = (from: number): number[] => Array.from({ length: 8 }, (_, i) => [from + i, 16 + from + i]).flat();
  const half = (from: number, sum: number): Instructions[] => [
    set(bytes, i8x16.shuffle(get(upper), get(lower), interleaved(from))),
    ...[set(pair, i16x8.extendLow(get(bytes))), accumulate(sum, pair, weight)],
    ...[set(pair, i16x8.extendHigh(get(bytes))), accumulate(sum + 2, pair, weight)],
  ];
  return {
    name: 'downColumns',
    parameters: new Array<number>(8).fill(I32),
    locals: [...new Array<number>(6).fill(I32), ...new Array<number>(14).fill(V128)],
    body: [
      loop(to, end, [
        ...[
          set(block, i32.add(get(source), i32.load(get(firsts)))),
          set(tapEnd, i32.add(get(weights), get(weightsStride))),
        ],
        ...[set(out, get(to)), set(outEnd, i32.add(get(to), get(length)))],
        loop(out, outEnd, [
          ...[0, 2, 4, 6].map(i => start(sums + i)),
          ...[set(at, get(block)), set(tap, get(weights))],
          loop(tap, tapEnd, [
            ...[set(upper, v128.load(get(at))), set(lower, v128.load(i32.add(get(at), get(stride))))],
            loadWeights(weight, tap, 0),
            ...[...half(0, sums), ...half(8, sums + 4)],
            ...[move(at, i32.mul(get(stride), int(COLUMN_TAPS))), move(tap, int(4 * COLUMN_TAPS))],
          ]),
          v128.store(
            get(out),
            i8x16.narrow(i16x8.narrow(total(sums), total(sums + 2)), i16x8.narrow(total(sums + 4), total(sums + 6))),
          ),
          ...[move(out, int(16)), move(block, int(16))],
        ]),
        ...[set(to, get(outEnd)), set(weights, get(tapEnd)), move(firsts, int(4))],
      ]),
    ],
  };
}

export interface ResizeKernel {
  readonly memory: Memory;
  alongRows(
    source: number,
    stride: number,
    to: number,
    toStride: number,
    end: number,
    firsts: number,
    firstsEnd: number,
    weights: number,
    weightsStride: number,
  ): void;
  downColumns(
    source: number,
    stride: number,
    to: number,
    length: number,
    end: number,
    firsts: number,
    weights: number,
    weightsStride: number,
  ): void;
}

/** The thread's kernel, with at least `bytes` of memory that hold anything; the next call may give the same one. */
export const resizeKernel: (bytes: number) => ResizeKernel = keptInstance<ResizeKernel>(() => [
  alongRows(),
  downColumns(),
]);
