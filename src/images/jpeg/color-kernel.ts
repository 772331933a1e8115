/** Planes of luma and colour to rows of RGB in vectors: colour enlarged and converted with libjpeg's roundings. */
import {
  type Code,
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

/** Bytes in front of its first sample at which `enlarge` wants a row of colour, to see what comes before. */
export const BEFORE = 8;

/** What `enlarge` adds before it divides by 16, left and right, where colour has half the rows, and where it has all. */
export const ROUNDINGS: Readonly<Record<1 | 2, readonly [number, number]>> = {
  2: [8 - 16 * 128, 7 - 16 * 128],
  1: [4 - 16 * 128, 8 - 16 * 128],
};

// Parameters: luma, the nearer and the farther row of both planes of colour, where to write, its end, and the roundings.
const [luma, near, far, to, end, roundings] = [0, 1, 3, 5, 6, 7];
// Sums of eight samples of a plane, those before and behind; sixteen samples of each; the pixels.
const [before, here, behind, colour] = [9, 11, 13, 15];
const [light, even, odd, red, green, blue] = [19, 20, 21, 22, 24, 26];
const VECTORS = 19;

const sixteen = (lane: (i: number) => number): number[] => Array.from({ length: 16 }, (_, i) => lane(i));
/** In turn lanes of 16 bits of two vectors' lower, or upper, halves. */
const turns = (upper: 0 | 1): number[] => sixteen(i => 8 * upper + 2 * (i >> 2) + (i & 1) + (i & 2) * 8);
const splat = (value: number): number[] => i16x8.splat(int(value));

/** Three times the nearer row and the farther one. */
const sum = (plane: number, at: number): number[] => {
  const [a, b] = [near, far].map(row => v128.loadBytes(get(row + plane), at));
  return i16x8.add(i16x8.mul(a, splat(3)), b);
};

/** Eight samples of a plane as sixteen around zero. */
const enlarged = (plane: number): Instructions[] => {
  const [a, b, c] = [before, here, behind].map(local => local + plane);
  const side = (neighbour: Instructions, rounding: number): number[] => {
    const weighted = i16x8.add(i16x8.mul(get(b), splat(3)), neighbour);
    return i16x8.shiftRight(i16x8.add(weighted, i16x8.splat(get(rounding))), 4);
  };
  const shifted = (from: number): number[] => sixteen(i => from + i);
  return [
    set(c, sum(plane, 2 * BEFORE)),
    set(even, side(i8x16.shuffle(get(a), get(b), shifted(14)), roundings)),
    set(odd, side(i8x16.shuffle(get(b), get(c), shifted(2)), roundings + 1)),
    ...([0, 1] as const).map(half => set(colour + 2 * plane + half, i8x16.shuffle(get(even), get(odd), turns(half)))),
    ...[set(a, get(b)), set(b, get(c)), move(near + plane, int(8)), move(far + plane, int(8))],
  ];
};

/** Sixteen samples of a plane that has as many as luma. */
const asItIs = (plane: number): Instructions[] => [
  ...[0, 1].map(half =>
    set(colour + 2 * plane + half, i16x8.sub(v128.loadBytes(get(near + plane), 8 * half), splat(128))),
  ),
  move(near + plane, int(16)),
];

/** 1.402, 1.772, −0.34414 and −0.71414 with 16 bits behind the point, less 1, 2, 0 and −1, so that they fit into 16 bits. */
const [RED, BLUE, GREEN] = [26345, -14942, [-22554, 65536 - 46802]];

/** Eight pixels of 16 bits. */
const converted = (half: 0 | 1): Instructions[] => {
  const [cb, cr] = [get(colour + half), get(colour + 2 + half)];
  const weights = GREEN.flatMap(weight => [weight & 255, (weight >> 8) & 255]);
  const greens = ([0, 1] as const).map(upper => {
    const dot = i32x4.dot(i8x16.shuffle(cb, cr, turns(upper)), v128.constant(sixteen(i => weights[i % 4])));
    return i32x4.shiftRight(i32x4.add(dot, i32x4.splat(int(1 << 15))), 16);
  });
  return [
    set(even, (half === 0 ? i16x8.extendLow : i16x8.extendHigh)(get(light))),
    // Half of an odd factor, rounded either way, gives the same of all values there are.
    set(red + half, i16x8.add(i16x8.add(get(even), cr), i16x8.mulFraction(cr, splat((RED + 1) / 2)))),
    set(blue + half, i16x8.add(i16x8.add(get(even), i16x8.add(cb, cb)), i16x8.mulFraction(cb, splat(BLUE / 2)))),
    set(green + half, i16x8.add(i16x8.sub(get(even), cr), i16x8.narrow(greens[0], greens[1]))),
  ];
};

/** Sixteen pixels, a vector a channel, to 48 bytes. */
const woven = (r: number, g: number, b: number): Instructions[] => {
  const pairs = (from: number): number[] => sixteen(i => from + (i >> 1) + 16 * (i & 1));
  const mixed = red;
  return [
    ...[set(even, i8x16.shuffle(get(r), get(g), pairs(0))), set(odd, i8x16.shuffle(get(r), get(g), pairs(8)))],
    v128.store(get(to), i8x16.shuffle(get(even), get(b), [0, 1, 16, 2, 3, 17, 4, 5, 18, 6, 7, 19, 8, 9, 20, 10])),
    set(
      mixed,
      i8x16.shuffle(
        get(even),
        get(odd),
        sixteen(i => 11 + i),
      ),
    ),
    v128.store(get(to), i8x16.shuffle(get(mixed), get(b), [0, 21, 1, 2, 22, 3, 4, 23, 5, 6, 24, 7, 8, 25, 9, 10]), 16),
    v128.store(
      get(to),
      i8x16.shuffle(get(odd), get(b), [26, 6, 7, 27, 8, 9, 28, 10, 11, 29, 12, 13, 30, 14, 15, 31]),
      32,
    ),
    move(to, int(48)),
  ];
};

const narrowed = (local: number): number[] => set(local + 1, i8x16.narrow(get(local), get(local + 1)));

function rows(name: string, start: readonly Instructions[], colours: readonly Instructions[]): Code {
  return {
    name,
    parameters: new Array<number>(9).fill(I32),
    locals: new Array<number>(VECTORS).fill(V128),
    body: [
      ...start,
      loop(to, end, [
        ...[set(light, v128.load(get(luma))), move(luma, int(16))],
        ...colours,
        ...(colours.length > 0
          ? [
              ...converted(0),
              ...converted(1),
              ...[red, green, blue].map(narrowed),
              ...woven(red + 1, green + 1, blue + 1),
            ]
          : woven(light, light, light)),
      ]),
    ],
  };
}

/**
 * `enlarge(luma, nearBlue, nearRed, farBlue, farRed, to, end, left, right)` writes a row, 16 pixels at a time, of planes of colour with
 * half as many columns; `direct` of ones with as many, where the farther rows and the roundings do not matter, and `grey` of none.
 */
export function colorCodes(): Code[] {
  const start = [0, 1].flatMap(plane => [set(before + plane, sum(plane, 0)), set(here + plane, sum(plane, BEFORE))]);
  return [
    rows('enlarge', start, [...enlarged(0), ...enlarged(1)]),
    rows('direct', [], [...asItIs(0), ...asItIs(1)]),
    rows('grey', [], []),
  ];
}
