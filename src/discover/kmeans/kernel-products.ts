/** Functions of the kernel that compare an image with centres. */
import {
  again,
  BITMASK,
  type Code,
  F32,
  f32,
  f32x4,
  get,
  I32,
  i32,
  int,
  lane,
  load,
  loadInt,
  loop,
  move,
  repeat,
  set,
  storeFloat,
  storeInt,
  tee,
  total,
  V128,
  when,
} from './wasm.ts';

/** Centres that one call compares with an image. */
export const GROUP = 4;

/** Stores the sum of a product's two vectors, `even` and the local behind it, as number `c` at `out`. */
const storeTotal = (out: number, c: number, even: number): number[] => [
  ...[...get(even), ...get(even + 1), ...f32x4.add, ...set(even)],
  ...[...get(out), ...total(even), ...storeFloat(4 * c)],
];

// Each product has two sums, of even and of odd vectors: one alone would wait for its own additions.
export function dotsCode(width: number): Code {
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
      ...[...get(row), ...int(4 * width), ...i32.add, ...set(end)],
      ...loop(row, end, [...repeat(4, step), ...move(row, 64), ...move(centres, 64)]),
      ...repeat(GROUP, c => storeTotal(out, c, first + 2 * c)),
    ],
  };
}

export function dotsAtCode(name: string, count: number, width: number): Code {
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
      ...[...get(row), ...int(4 * width), ...i32.add, ...set(end)],
      ...loop(row, end, [...repeat(4, step), ...move(row, 64), ...repeat(count, c => move(at + c, 64))]),
      ...repeat(count, c => storeTotal(out, c, first + 2 * c)),
    ],
  };
}

export function dotCode(width: number): Code {
  const [row, centre, end, even] = [0, 1, 2, 3];
  return {
    name: 'dot',
    parameters: [I32, I32],
    results: [F32],
    locals: [I32, V128, V128],
    body: [
      ...[...get(row), ...int(4 * width), ...i32.add, ...set(end)],
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

export function candidatesCode(): Code {
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
      ...[...get(top), ...lane(0), ...get(top), ...lane(1), ...f32.max],
      ...[...get(top), ...lane(2), ...f32.max, ...get(top), ...lane(3), ...f32.max],
      ...[...get(margin), ...f32.sub, ...f32x4.splat, ...set(sure)],
      ...[...start, ...get(out), ...set(at)],
      ...loop(pointer, end, [
        ...[...get(pointer), ...load(0), ...get(sure), ...f32x4.atLeast, ...BITMASK, ...set(mask)],
        ...when(
          get(mask),
          again([
            ...[...get(at), ...get(column), ...get(mask), ...i32.ctz, ...i32.add, ...storeInt(0), ...move(at, 4)],
            // Without its lowest bit.
            ...[...get(mask), ...get(mask), ...int(1), ...i32.sub, ...i32.and, ...tee(mask)],
          ]),
        ),
        ...[...move(column, 4), ...move(pointer, 16)],
      ]),
      ...[...get(at), ...get(out), ...i32.sub, ...int(2), ...i32.shift],
    ],
  };
}

export function touchCode(width: number): Code {
  const line = 64;
  return {
    name: 'touch',
    parameters: [I32],
    results: [I32],
    locals: [],
    body: [...int(0), ...repeat(Math.ceil((4 * width) / line), i => [...get(0), ...loadInt(line * i), ...i32.or])],
  };
}
