/** Pixels to normalised planes in vectors of float32, with every rounding of (pixel / 255 − mean) / std. */
import {
  type Code,
  F32,
  f32x4,
  get,
  I32,
  i8x16,
  int,
  keptInstance,
  loop,
  type Memory,
  move,
  set,
  V128,
  v128,
} from '../wasm.ts';

/** Pixels that are taken at once. */
export const PIXELS = 4;

export interface NormaliseKernel {
  readonly memory: Memory;
  /** Pixels from `from` to `end` into three planes, the first at `to`, `stride` bytes from one to the next. */
  planes(
    ...[from, end, to, stride, means, deviations]: [
      ...[from: number, end: number, to: number, stride: number],
      ...[
        red: number,
        green: number,
        blue: number,
        redDeviation: number,
        greenDeviation: number,
        blueDeviation: number,
      ],
    ]
  ): void;
}

/** 1 / 255 as a number with so few bits that no product with a byte is rounded, and what is missing. */
const THIRD = 65793 / 2 ** 24;
const REST = 1 / 255 - THIRD;

const constant = (value: number): number[] => {
  const bytes = [...new Uint8Array(Float32Array.of(value).buffer)];
  return v128.constant([...bytes, ...bytes, ...bytes, ...bytes]);
};

function planes(): Code {
  const [from, end, to, stride, means, deviations] = [0, 1, 2, 3, 4, 7];
  const [at, pixels, values] = [10, 11, 12];
  const [mean, deviation] = [13, 16];
  return {
    name: 'planes',
    parameters: [I32, I32, I32, I32, F32, F32, F32, F32, F32, F32],
    locals: [I32, ...new Array<number>(8).fill(V128)],
    body: [
      ...[0, 1, 2].flatMap(c => [
        set(mean + c, f32x4.splat(get(means + c))),
        set(deviation + c, f32x4.splat(get(deviations + c))),
      ]),
      loop(from, end, [
        ...[set(pixels, v128.load(get(from))), set(at, get(to))],
        ...[0, 1, 2].flatMap(c => {
          const lanes = [0, 3, 6, 9].flatMap(pixel => [pixel + c, 0x80, 0x80, 0x80]);
          const [large, small] = [THIRD, REST].map(factor => f32x4.mul(get(values), constant(factor)));
          return [
            set(values, f32x4.convert(i8x16.swizzle(get(pixels), v128.constant(lanes)))),
            set(values, f32x4.sub(f32x4.add(large, small), get(mean + c))),
            v128.store(get(at), f32x4.div(get(values), get(deviation + c))),
            ...(c < 2 ? [move(at, get(stride))] : []),
          ];
        }),
        ...[move(from, int(3 * PIXELS)), move(to, int(4 * PIXELS))],
      ]),
    ],
  };
}

/** The thread's kernel, with at least `bytes` of memory that hold anything; the next call may give the same one. */
export const normaliseKernel: (bytes: number) => NormaliseKernel = keptInstance<NormaliseKernel>(() => [planes()]);
