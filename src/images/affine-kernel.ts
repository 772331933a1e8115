/** The inner loop of an affine transform in vectors of float64, with the operations of Pillow's in its order. */
import {
  type Code,
  choose,
  double,
  F64,
  f64,
  f64x2,
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

/** Pixels on each side of the image that repeat its border, since a cubic takes two from either side. */
export const BORDER = 2;

export interface AffineKernel {
  readonly memory: Memory;
  /**
   * Pixels from `to` to `end` of one row: the x-th from (a·(x + ½) + bx + c, d·(x + ½) + ey + f) of the bordered image whose
   * own first pixel lies at `source`, or `fill` where that is outside.
   */
  row(
    ...[to, end, source, stride, fill, width, height, a, bx, c, d, ey, f]: [
      ...[to: number, end: number, source: number, stride: number, fill: number],
      ...[width: number, height: number, a: number, bx: number, c: number, d: number, ey: number, f: number],
    ]
  ): void;
}

const [low, high] = [0, 8].map(from => Array.from({ length: 16 }, (_, i) => from + (i % 8)));
const concatenation = Array.from({ length: 16 }, (_, i) => (i < 8 ? i : i + 8));

/** The values of pixel `at` of the bytes in a local, 32 bits a channel. */
const pixel = (bytes: number, at: number): number[] => {
  const lanes = [0, 1, 2].flatMap(channel => [3 * at + channel, 0x80, 0x80, 0x80]);
  return i8x16.swizzle(get(bytes), v128.constant([...lanes, 0x80, 0x80, 0x80, 0x80]));
};

/** v2 + d · (p1 + d · (p2 + d · p3)), Pillow's cubic with its three polynomials made before. */
const cubic = (d: number, v2: Instructions, p1: Instructions, p2: Instructions, p3: Instructions): number[] => {
  const inner = f64x2.add(p2, f64x2.mul(get(d), p3));
  return f64x2.add(v2, f64x2.mul(get(d), f64x2.add(p1, f64x2.mul(get(d), inner))));
};

function row(): Code {
  const [to, end, source, stride, fill, width, height, a, bx, c, d, ey, f] = Array.from({ length: 13 }, (_, i) => i);
  const [at, x, sourceX, sourceY, left, top] = [13, 14, 15, 16, 17, 18];
  const [dx, dy, bytes, v1, v2, v3, v4, p1, p2, p3] = Array.from({ length: 10 }, (_, i) => 19 + i);
  // The value of each of four rows: red and green, then blue.
  const sums = 29;

  const coordinate = (scale: number, shift: number, offset: number): number[] =>
    f64.add(f64.add(f64.mul(get(scale), get(x)), get(shift)), get(offset));
  const half = (bytes: readonly number[], local: number): number[] =>
    f64x2.convertLow(i8x16.shuffle(get(local), get(local), bytes));
  const alongRow = (k: number): Instructions[] => [
    set(bytes, v128.load(get(at))),
    ...[v1, v2, v3, v4].map((local, i) => set(local, pixel(bytes, i))),
    // Whole numbers: no order of operations changes them.
    set(p1, i32x4.sub(get(v3), get(v1))),
    set(p2, i32x4.sub(get(v1), get(v2))),
    set(p3, i32x4.sub(i32x4.sub(get(v4), get(v3)), get(p2))),
    set(p2, i32x4.sub(i32x4.add(i32x4.add(get(p2), get(p2)), get(v3)), get(v4))),
    ...[low, high].map((lanes, i) =>
      set(sums + 2 * k + i, cubic(dx, half(lanes, v2), half(lanes, p1), half(lanes, p2), half(lanes, p3))),
    ),
    move(at, get(stride)),
  ];
  const downColumn = (i: number): Instructions[] => {
    const [a1, a2, a3, a4] = [0, 2, 4, 6].map(k => get(sums + k + i));
    const difference = f64x2.sub(a1, a2);
    const second = f64x2.sub(f64x2.add(f64x2.mul(f64x2.splat(double(2)), difference), a3), a4);
    const third = f64x2.add(f64x2.sub(f64x2.sub(a2, a1), a3), a4);
    const value = cubic(dy, a2, f64x2.sub(a3, a1), second, third);
    const clipped = f64x2.min(f64x2.max(value, f64x2.splat(double(0))), f64x2.splat(double(255)));
    return [set(v1 + i, i32x4.truncate(clipped))];
  };
  const inside = [
    [sourceX, width],
    [sourceY, height],
  ].map(([value, limit]) => i32.and(f64.notLess(get(value), double(0)), f64.less(get(value), get(limit))));
  const minusHalf = (value: number): number[] => f64.sub(get(value), double(0.5));

  return {
    name: 'row',
    parameters: [...new Array<number>(5).fill(I32), ...new Array<number>(8).fill(F64)],
    locals: [I32, ...new Array<number>(5).fill(F64), ...new Array<number>(18).fill(V128)],
    body: [
      set(x, double(0.5)),
      loop(to, end, [
        set(sourceX, coordinate(a, bx, c)),
        set(sourceY, coordinate(d, ey, f)),
        choose(
          i32.and(inside[0], inside[1]),
          [
            set(left, f64.floor(minusHalf(sourceX))),
            set(top, f64.floor(minusHalf(sourceY))),
            set(dx, f64x2.splat(f64.sub(minusHalf(sourceX), get(left)))),
            set(dy, f64x2.splat(f64.sub(minusHalf(sourceY), get(top)))),
            // The first of 4 × 4 pixels is one up and left.
            set(at, i32.mul(i32.add(i32.truncate(get(top)), int(-1)), get(stride))),
            move(at, i32.mul(i32.add(i32.truncate(get(left)), int(-1)), int(3))),
            move(at, get(source)),
            ...[0, 1, 2, 3].flatMap(alongRow),
            ...[0, 1].flatMap(downColumn),
            set(v1, i8x16.shuffle(get(v1), get(v2), concatenation)),
            set(v1, i16x8.narrow(get(v1), get(v1))),
            v128.storeLane(get(to), i8x16.narrow(get(v1), get(v1))),
          ],
          [i32.store(get(to), get(fill))],
        ),
        set(x, f64.add(get(x), double(1))),
        move(to, int(3)),
      ]),
    ],
  };
}

/** The thread's kernel, with at least `bytes` of memory that hold anything; the next call may give the same one. */
export const affineKernel: (bytes: number) => AffineKernel = keptInstance<AffineKernel>(() => [row()]);
