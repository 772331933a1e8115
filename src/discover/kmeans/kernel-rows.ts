/** Functions of the kernel that go through one row: its length, its sum with others, its bytes. */
import {
  type Code,
  doubleLane,
  F32,
  F64,
  F64_ADD,
  f32x4,
  f64x2,
  get,
  I32,
  i32,
  int,
  load,
  loadHalf,
  loop,
  move,
  NARROW_TO_16,
  NARROW_TO_BYTES,
  repeat,
  set,
  store,
  storeFloat,
  TRUNCATE,
  tee,
  total,
  V128,
  ZERO,
} from './wasm.ts';

export function squareCode(width: number): Code {
  const [row, end, x, sum] = [0, 1, 2, 3];
  return {
    name: 'square',
    parameters: [I32],
    results: [F64],
    locals: [I32, V128, V128, V128],
    body: [
      ...[...get(row), ...int(4 * width), ...i32.add, ...set(end)],
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

export function addCode(width: number): Code {
  const [row, sum, magic, sign, end, grid, factor] = [0, 1, 2, 3, 4, 5, 6];
  return {
    name: 'add',
    parameters: [I32, I32, F64, F64],
    locals: [I32, V128, V128],
    body: [
      ...[...get(row), ...int(4 * width), ...i32.add, ...set(end)],
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

export function quantiseCode(width: number): Code {
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
      ...[...get(row), ...int(4 * width), ...i32.add, ...set(end)],
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
