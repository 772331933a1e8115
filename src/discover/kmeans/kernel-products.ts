/** Functions of the kernel that compare an image with centres. */
import {
  type Code,
  F32,
  f32,
  f32x4,
  get,
  I32,
  type Instructions,
  i32,
  i32x4,
  int,
  loop,
  move,
  set,
  V128,
  v128,
  whilst,
} from '../../wasm.ts';

/** Centres that one call compares with an image. */
export const GROUP = 4;

/** Bytes of a row that one turn of a loop takes: four vectors. */
export const TURN = 64;

/** A body for each of the first numbers. */
export const each = (count: number, body: (index: number) => Instructions): Instructions[] =>
  Array.from({ length: count }, (_, index) => body(index));

/** (0 + 1) + (2 + 3) of a vector's lanes. */
export const laneSum = (value: Instructions): number[] =>
  f32.add(f32.add(f32x4.lane(value, 0), f32x4.lane(value, 1)), f32.add(f32x4.lane(value, 2), f32x4.lane(value, 3)));

/** Where a row ends. */
export const rowEnd = (row: number, width: number): number[] => i32.add(get(row), int(4 * width));

/** The product whose sums of even and of odd vectors two locals hold: one sum alone would wait for its own additions. */
const product = (even: number): Instructions[] => [set(even, f32x4.add(get(even), get(even + 1))), laneSum(get(even))];

/** Adds the products of a vector to a local. */
const addProduct = (sum: number, a: Instructions, b: Instructions): number[] =>
  set(sum, f32x4.add(get(sum), f32x4.mul(a, b)));

const stored = (out: number, c: number, even: number): number[] => {
  const [sum, value] = product(even);
  return [...sum, ...f32.store(get(out), value, 4 * c)];
};

export function dotsCode(width: number): Code {
  const [row, centres, out, end, x, first] = [0, 1, 2, 3, 4, 5];
  const part = (i: number): number[] => [
    ...set(x, v128.load(get(row), 16 * i)),
    ...each(GROUP, c =>
      addProduct(first + 2 * c + (i % 2), get(x), v128.load(get(centres), 4 * c * width + 16 * i)),
    ).flat(),
  ];
  return {
    name: 'dots',
    parameters: [I32, I32, I32],
    locals: [I32, V128, ...new Array<number>(2 * GROUP).fill(V128)],
    body: [
      set(end, rowEnd(row, width)),
      loop(row, end, [...each(4, part), move(row, int(TURN)), move(centres, int(TURN))]),
      ...each(GROUP, c => stored(out, c, first + 2 * c)),
    ],
  };
}

export function dotsAtCode(name: string, count: number, width: number): Code {
  const [row, at, out, end, x, first] = [0, 1, 1 + count, 2 + count, 3 + count, 4 + count];
  const part = (i: number): number[] => [
    ...set(x, v128.load(get(row), 16 * i)),
    ...each(count, c => addProduct(first + 2 * c + (i % 2), get(x), v128.load(get(at + c), 16 * i))).flat(),
  ];
  return {
    name,
    parameters: new Array<number>(2 + count).fill(I32),
    locals: [I32, V128, ...new Array<number>(2 * count).fill(V128)],
    body: [
      set(end, rowEnd(row, width)),
      loop(row, end, [...each(4, part), move(row, int(TURN)), ...each(count, c => move(at + c, int(TURN)))]),
      ...each(count, c => stored(out, c, first + 2 * c)),
    ],
  };
}

export function dotCode(width: number): Code {
  const [row, centre, end, even] = [0, 1, 2, 3];
  const part = (i: number): number[] =>
    addProduct(even + (i % 2), v128.load(get(row), 16 * i), v128.load(get(centre), 16 * i));
  return {
    name: 'dot',
    parameters: [I32, I32],
    results: [F32],
    locals: [I32, V128, V128],
    body: [
      set(end, rowEnd(row, width)),
      loop(row, end, [...each(4, part), move(row, int(TURN)), move(centre, int(TURN))]),
      ...product(even),
    ],
  };
}

export function candidatesCode(): Code {
  const [scores, end, margin, out, at, pointer, column, mask, top, sure] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const greatest = [1, 2, 3].reduce(
    (most, index) => f32.max(most, f32x4.lane(get(top), index)),
    f32x4.lane(get(top), 0),
  );
  return {
    name: 'candidates',
    parameters: [I32, I32, F32, I32],
    results: [I32],
    locals: [I32, I32, I32, I32, V128, V128],
    body: [
      set(pointer, get(scores)),
      set(top, v128.load(get(scores))),
      loop(pointer, end, [set(top, f32x4.pseudoMax(get(top), v128.load(get(pointer)))), move(pointer, int(16))]),
      set(sure, f32x4.splat(f32.sub(greatest, get(margin)))),
      set(pointer, get(scores)),
      set(at, get(out)),
      loop(pointer, end, [
        set(mask, i32x4.bitmask(f32x4.atLeast(v128.load(get(pointer)), get(sure)))),
        whilst(get(mask), [
          i32.store(get(at), i32.add(get(column), i32.ctz(get(mask)))),
          move(at, int(4)),
          // Without its lowest bit.
          set(mask, i32.and(get(mask), i32.sub(get(mask), int(1)))),
        ]),
        move(column, int(4)),
        move(pointer, int(16)),
      ]),
      i32.shiftRight(i32.sub(get(at), get(out)), int(2)),
    ],
  };
}

export function touchCode(width: number): Code {
  const line = 64;
  const words = each(Math.ceil((4 * width) / line), i => i32.load(get(0), line * i));
  return {
    name: 'touch',
    parameters: [I32],
    results: [I32],
    locals: [],
    body: [words.reduce((all, word) => i32.or(all, word))],
  };
}
