/** The inverse cosine transform of 8×8 blocks in vectors, with the sums and roundings of libjpeg's accurate one. */
import {
  type Code,
  choose,
  get,
  I32,
  type Instructions,
  i8x16,
  i16x8,
  i32,
  i32x4,
  int,
  loop,
  move,
  set,
  V128,
  v128,
} from '../../wasm.ts';
import { BLOCK_BYTES, PLAN } from './scan-kernel.ts';

const CONSTANT_BITS = 13;
const ONE = 2 ** CONSTANT_BITS;
const fixed = (value: number): number => Math.round(value * ONE);

// The constants of libjpeg's jidctint.c, of whose multiples each output is a sum.
const [c0298, c0390, c0541, c0765] = [0.298631336, 0.390180644, 0.5411961, 0.765366865].map(fixed);
const [c0899, c1175, c1501, c1847] = [0.899976223, 1.175875602, 1.50132111, 1.847759065].map(fixed);
const [c1961, c2053, c2562, c3072] = [1.96157056, 2.053119869, 2.562915447, 3.072711026].map(fixed);

/** What the inputs 2 and 6 add to the even part of the outputs 0 and 1, and take from that of 3 and 2. */
const TURNED = [
  [c0541 + c0765, c0541],
  [c0541, c0541 - c1847],
];
/** What the inputs 1, 3, 5 and 7 add to the outputs 0, 1, 2 and 3, and take from 7, 6, 5 and 4. */
const ODD = [
  [c1501 - c0899 - c0390 + c1175, c1175, c1175 - c0390, c1175 - c0899],
  [c1175, c3072 - c2562 - c1961 + c1175, c1175 - c2562, c1175 - c1961],
  [c1175 - c0390, c1175 - c2562, c2053 - c2562 - c0390 + c1175, c1175],
  [c1175 - c0899, c1175 - c1961, c1175, c0298 - c0899 - c1961 + c1175],
];

/** The passes leave two bits behind the binary point, then none, of eight times the value; samples have their zero at 128. */
const [FIRST, SECOND] = [CONSTANT_BITS - 2, CONSTANT_BITS + 2 + 3].map(shift => ({
  shift,
  rounding: 2 ** (shift - 1),
}));
SECOND.rounding += 128 * 2 ** SECOND.shift;

/** The first coefficient of the file in the lower half of a block, plus one: what has fewer has zeros in half of rows and columns. */
const HALF_LAST = 10;

/**
 * Largest coefficient times its divisor, and largest number between the passes. Photographs stay below half of it. What is above
 * comes from damage, and libjpeg's versions for one processor or another disagree in where 16 bits overflow.
 */
export const [MOST_COEFFICIENT, MOST_BETWEEN] = [2 ** 13 - 1, 2 ** 14 - 1];

/** Two 16-bit numbers in every lane of 32 bits. */
const both = (a: number, b: number): number[] => {
  const bytes = [a & 255, (a >> 8) & 255, b & 255, (b >> 8) & 255];
  return v128.constant([...bytes, ...bytes, ...bytes, ...bytes]);
};

/** In turn lanes of `size` bytes of the lower, or upper, halves of two locals. */
const mix = (size: number, a: number, b: number, upper: boolean): number[] => {
  const lane = (i: number): number => (upper ? 8 : 0) + size * Math.floor(i / size / 2) + (i % size);
  const lanes = Array.from({ length: 16 }, (_, i) => lane(i) + (Math.floor(i / size) % 2) * 16);
  return i8x16.shuffle(get(a), get(b), lanes);
};
const pairUp = (size: number, to: number, a: number, b: number): Instructions[] => [
  set(to, mix(size, a, b, false)),
  set(to + 1, mix(size, a, b, true)),
];

// Locals: parameters, addresses, eight rows, eight sums of the lower and of the upper columns, and what is in between.
const [coefficients, lasts, plan, planEnd, group, groupEnd] = [0, 1, 2, 3, 4, 5];
const [block, to, stride, last] = [6, 7, 8, 9];
const [rows, lower, upper, even, odd, tooLarge] = [10, 18, 26, 34, 38, 41];
const eight = [0, 1, 2, 3, 4, 5, 6, 7];

/** Four columns, as 32 bits, of one pass over `rows`; of the rows only the first four are not zero where `inputs` is 4. */
function columns(inputs: 4 | 8, sums: number, { shift, rounding }: typeof FIRST): Instructions[] {
  const isFull = inputs === 8;
  const pair = (a: number, b: number): number[] => mix(2, rows + a, rows + (isFull || b < 4 ? b : a), sums === upper);
  const dot = (local: number, [a, b]: readonly number[], hasBoth = isFull): number[] =>
    i32x4.dot(get(local), both(a, hasBoth ? b : 0));
  const round = i32x4.splat(int(rounding));
  const [straight, turned] = [even, even + 2];
  return [
    set(odd, pair(0, 4)),
    set(straight, i32x4.add(dot(odd, [ONE, ONE]), round)),
    set(straight + 1, isFull ? i32x4.add(dot(odd, [ONE, -ONE]), round) : get(straight)),
    set(odd, pair(2, 6)),
    ...TURNED.map((weights, i) => set(turned + i, dot(odd, weights))),
    ...[set(odd, pair(1, 3)), ...(isFull ? [set(odd + 1, pair(5, 7))] : [])],
    ...ODD.flatMap(([w1, w3, w5, w7], i) => {
      const half = i === 0 || i === 3 ? 0 : 1;
      const evenPart = (i < 2 ? i32x4.add : i32x4.sub)(get(straight + half), get(turned + half));
      const first = dot(odd, [w1, w3], true);
      return [
        set(sums + i, evenPart),
        set(odd + 2, isFull ? i32x4.add(first, dot(odd + 1, [w5, w7])) : first),
        set(sums + 7 - i, i32x4.shiftRight(i32x4.sub(get(sums + i), get(odd + 2)), shift)),
        set(sums + i, i32x4.shiftRight(i32x4.add(get(sums + i), get(odd + 2)), shift)),
      ];
    }),
  ];
}

const narrowed: Instructions[] = eight.map(i => set(rows + i, i16x8.narrow(get(lower + i), get(upper + i))));

/** Rows to columns. */
const transposed: Instructions[] = [
  ...[0, 2, 4, 6].flatMap(i => pairUp(2, lower + i, rows + i, rows + i + 1)),
  ...[0, 1, 4, 5].flatMap((i, n) => pairUp(4, upper + 2 * n, lower + i, lower + i + 2)),
  ...[0, 1, 2, 3].flatMap(i => pairUp(8, rows + 2 * i, upper + i, upper + i + 4)),
];

/** Four columns of eight rows, in 32 bits, to four rows. */
const transposedHalf: Instructions[] = [
  ...[0, 1, 4, 5].map((i, n) => set(rows + n, i16x8.narrow(get(lower + i), get(lower + i + 2)))),
  ...[0, 2].flatMap(i => pairUp(2, upper + i, rows + i, rows + i + 1)),
  ...[0, 2].flatMap(i => pairUp(4, lower + i, upper + i, upper + i + 1)),
  ...[0, 1].flatMap(i => pairUp(8, rows + 2 * i, lower + i, lower + i + 2)),
];

/** Columns of 16 bits to rows of bytes, which are stored. */
const stored: Instructions[] = [
  ...[0, 1, 4, 5].map((i, n) => set(lower + n, i8x16.narrow(get(rows + i), get(rows + i + 2)))),
  ...[0, 2].flatMap(i => pairUp(1, upper + i, lower + i, lower + i + 1)),
  ...[0, 2].flatMap(i => pairUp(2, lower + i, upper + i, upper + i + 1)),
  ...[0, 1].flatMap(i => pairUp(4, upper + 2 * i, lower + i, lower + i + 2)),
  ...[0, 1, 2, 3].flatMap(i =>
    [0, 1].flatMap(half => [v128.storeHalf(get(to), get(upper + i), half), move(to, get(stride))]),
  ),
];

const check = (local: number, most: Instructions): number[] =>
  set(tooLarge, v128.or(get(tooLarge), i16x8.above(i16x8.abs(get(local)), most)));
const checked = (inputs: 4 | 8): Instructions[] =>
  eight.slice(0, inputs).map(i => check(rows + i, i16x8.splat(int(MOST_BETWEEN))));

/** The divisors of a plane, then the largest coefficients. */
const divisors = i32.load(get(block), PLAN.divisors);
const loaded = (inputs: 4 | 8): Instructions[] =>
  eight
    .slice(0, inputs)
    .flatMap(i => [
      set(rows + i, v128.load(get(coefficients), 16 * i)),
      check(rows + i, v128.load(divisors, BLOCK_BYTES + 16 * i)),
      set(rows + i, i16x8.mul(get(rows + i), v128.load(divisors, 16 * i))),
    ]);

/** One value in all places: what both passes make of the first coefficient alone. */
const flat: Instructions[] = [
  set(rows, v128.load(get(coefficients))),
  check(rows, v128.load(divisors, BLOCK_BYTES)),
  set(rows, i16x8.mul(get(rows), v128.load(divisors))),
  set(rows, i8x16.swizzle(get(rows), v128.constant(Array.from({ length: 16 }, (_, i) => i % 2)))),
  set(rows, i16x8.shiftRight(i16x8.add(get(rows), i16x8.splat(int(4))), 3)),
  set(rows, i16x8.add(get(rows), i16x8.splat(int(128)))),
  set(rows, i8x16.narrow(get(rows), get(rows))),
  ...eight.flatMap(() => [v128.storeHalf(get(to), get(rows), 0), move(to, get(stride))]),
];

/**
 * `transform(coefficients, lasts, plan, planEnd, group, groupEnd)` turns the blocks of groups, from one number to another, into
 * samples of their planes; gives 0 where numbers are too large.
 */
export function transform(): Code {
  return {
    name: 'transform',
    parameters: new Array<number>(6).fill(I32),
    results: [I32],
    locals: [...new Array<number>(4).fill(I32), ...new Array<number>(32).fill(V128)],
    body: [
      loop(group, groupEnd, [
        set(block, get(plan)),
        loop(block, planEnd, [
          set(to, i32.load(get(block), PLAN.to)),
          move(to, i32.mul(get(group), i32.load(get(block), PLAN.step))),
          ...[set(stride, i32.load(get(block), PLAN.stride)), set(last, i32.load8(get(lasts)))],
          choose(i32.less(get(last), int(2)), flat, [
            choose(
              i32.less(get(last), int(HALF_LAST + 1)),
              [
                ...[...loaded(4), ...columns(4, lower, FIRST), ...transposedHalf, ...checked(4)],
                ...[...columns(4, lower, SECOND), ...columns(4, upper, SECOND)],
              ],
              [
                ...[...loaded(8), ...columns(8, lower, FIRST), ...columns(8, upper, FIRST), ...narrowed, ...checked(8)],
                ...[...transposed, ...columns(8, lower, SECOND), ...columns(8, upper, SECOND)],
              ],
            ),
            ...narrowed,
            ...stored,
          ]),
          ...[move(coefficients, int(BLOCK_BYTES)), move(lasts, int(1)), move(block, int(PLAN.bytes))],
        ]),
        move(group, int(1)),
      ]),
      i32.isZero(v128.anyTrue(get(tooLarge))),
    ],
  };
}
