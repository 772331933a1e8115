/** Functions of the kernel that go through one row: its length, its sum with others, its bytes. */
import {
  type Code,
  F32,
  F64,
  f32,
  f32x4,
  f64,
  f64x2,
  get,
  I32,
  type Instructions,
  i8x16,
  i16x8,
  i32x4,
  int,
  loop,
  move,
  set,
  V128,
  v128,
} from '../../wasm.ts';
import { each, laneSum, rowEnd, TURN } from './kernel-products.ts';

/** Two values of a row in float64. */
const pair = (row: number, i: number): number[] => f64x2.promoteLow(v128.loadHalf(get(row), 8 * i));

export function squareCode(width: number): Code {
  const [row, end, x, sum] = [0, 1, 2, 3];
  const part = (i: number): number[] => [
    ...set(x, pair(row, i)),
    ...set(sum + (i % 2), f64x2.add(f64x2.mul(get(x), get(x)), get(sum + (i % 2)))),
  ];
  return {
    name: 'square',
    parameters: [I32],
    results: [F64],
    locals: [I32, V128, V128, V128],
    body: [
      set(end, rowEnd(row, width)),
      loop(row, end, [...each(8, part), move(row, int(TURN))]),
      set(sum, f64x2.add(get(sum), get(sum + 1))),
      f64.add(f64x2.lane(get(sum), 0), f64x2.lane(get(sum), 1)),
    ],
  };
}

export function addCode(width: number): Code {
  const [row, sum, magic, sign, end, grid, factor] = [0, 1, 2, 3, 4, 5, 6];
  const part = (i: number): number[] => {
    // Adding and taking away a number of the grid's size leaves a multiple of the grid.
    const onGrid = f64x2.sub(f64x2.add(pair(row, i), get(grid)), get(grid));
    return v128.store(get(sum), f64x2.add(v128.load(get(sum), 16 * i), f64x2.mul(onGrid, get(factor))), 16 * i);
  };
  return {
    name: 'add',
    parameters: [I32, I32, F64, F64],
    locals: [I32, V128, V128],
    body: [
      set(end, rowEnd(row, width)),
      set(grid, f64x2.splat(get(magic))),
      set(factor, f64x2.splat(get(sign))),
      loop(row, end, [...each(4, part), move(row, int(TURN / 2)), move(sum, int(TURN))]),
    ],
  };
}

export function quantiseCode(width: number): Code {
  const [row, mean, bytes, step, most, zero, out] = [0, 1, 2, 3, 4, 5, 6];
  const [end, scale, high, low, middle, values, errors, y, first] = [7, 8, 9, 10, 11, 12, 13, 14, 15];
  const addSquare = (sum: number): number[] => set(sum, f32x4.add(f32x4.mul(get(y), get(y)), get(sum)));
  const part = (i: number): number[] => [
    ...set(y, f32x4.sub(v128.load(get(row), 16 * i), v128.load(get(mean), 16 * i))),
    ...addSquare(values),
    ...set(first + i, f32x4.nearest(f32x4.div(get(y), get(scale)))),
    ...set(first + i, f32x4.max(f32x4.min(get(first + i), get(high)), get(low))),
    ...set(y, f32x4.sub(get(y), f32x4.mul(get(first + i), get(scale)))),
    ...addSquare(errors),
    ...set(first + i, i32x4.truncateFloats(f32x4.add(get(first + i), get(middle)))),
  ];
  const splat = (to: number, from: number): Instructions => set(to, f32x4.splat(get(from)));
  const halves = [0, 2].map(i => i16x8.narrow(get(first + i), get(first + i + 1)));
  return {
    name: 'quantise',
    parameters: [I32, I32, I32, F32, F32, F32, I32],
    locals: [I32, ...new Array<number>(11).fill(V128)],
    body: [
      set(end, rowEnd(row, width)),
      ...[splat(scale, step), splat(high, most), splat(middle, zero)],
      set(low, f32x4.sub(v128.constant(new Array<number>(16).fill(0)), get(high))),
      loop(row, end, [
        ...each(4, part),
        v128.store(get(bytes), i8x16.narrow(halves[0], halves[1])),
        ...[move(row, int(TURN)), move(mean, int(TURN)), move(bytes, int(16))],
      ]),
      f32.store(get(out), laneSum(get(values))),
      f32.store(get(out), laneSum(get(errors)), 4),
    ],
  };
}
