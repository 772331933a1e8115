/** The codes of a JPEG scan to coefficients, from bytes that are unstuffed and backwards. */
import {
  type Code,
  choose,
  get,
  I32,
  I64,
  type Instructions,
  i32,
  i64,
  int,
  leave,
  long,
  loop,
  move,
  repeat,
  set,
  v128,
  when,
  whilst,
} from '../../wasm.ts';
import { END_OF_BLOCK, LIMITS, LOOKUP_BITS, OFFSETS, SYMBOLS } from './lookup.ts';

/** Where the reader's state has what, in bytes; JavaScript writes the 32-bit ones before the first row. */
export const STATE = {
  bits: 0,
  count: 8,
  at: 16,
  end: 20,
  left: 24,
  segment: 28,
  segmentsEnd: 32,
  restart: 36,
  predictions: 48,
  bytes: 64,
};

/** A block of a group, in bytes: 32-bit addresses and steps that the kernels share. */
export const PLAN = { dc: 0, ac: 4, prediction: 8, divisors: 12, to: 16, step: 20, stride: 24, bytes: 32 };

/** Bytes of the coefficients of a block, and what is behind them: where values go that belong to none. */
export const BLOCK_BYTES = 128;
export const NOWHERE: number = BLOCK_BYTES;

/** Bytes in front of the reversed ones that a damaged scan may read before that is noticed, at the end of a group. */
export const OVERRUN = 4096;

const ZERO = v128.constant(new Array<number>(16).fill(0));

const [state, groups, plan, planEnd, to, lasts, order] = [0, 1, 2, 3, 4, 5, 6];
const [bits, count, entry, length] = [7, 8, 9, 10];
const [at, left, block, table, k, symbol, prediction] = [11, 12, 13, 14, 15, 16, 17];

const field = (name: keyof typeof STATE): number[] => i32.load(get(state), STATE[name]);

/** At least 56 bits; those that were there already are only written again. */
const refill: Instructions[] = [
  set(bits, i64.or(get(bits), i64.shiftRight(i64.load(get(at)), get(count)))),
  set(at, i32.sub(get(at), i32.wrap(i64.shiftRight(i64.sub(long(63), get(count)), long(3))))),
  set(count, i64.or(get(count), long(56))),
];
const drop: Instructions[] = [
  set(bits, i64.shiftLeft(get(bits), get(length))),
  set(count, i64.sub(get(count), get(length))),
];
/** The next `length` bits, at least one. */
const next = (length: Instructions): number[] => i64.shiftRight(get(bits), i64.sub(long(64), length));
const words = (index: Instructions): number[] => i32.add(get(table), i32.shiftLeft(index, int(2)));
const limit = i32.load(words(i32.wrap(get(length))), LIMITS);

/** A code longer than what is looked up: leaves its symbol and length. */
const decodeLong: Instructions[] = [
  ...[set(symbol, i32.wrap(next(long(16)))), set(length, long(LOOKUP_BITS + 1))],
  whilst(i32.atLeast(get(symbol), limit), [
    when(i64.isZero(i64.sub(get(length), long(16))), [leave(int(0))]),
    set(length, i64.add(get(length), long(1))),
  ]),
  set(symbol, i32.add(i32.load(words(i32.wrap(get(length))), OFFSETS), i32.wrap(next(get(length))))),
  set(symbol, i32.load8(i32.add(get(table), get(symbol)), SYMBOLS)),
];

/** What does not fit into the bits that are looked up: leaves an entry with the value, and adds the step. */
const decodeApart: Instructions[] = [
  choose(i64.isZero(get(entry)), decodeLong, [
    set(length, i64.shiftRight(get(entry), long(16))),
    set(symbol, i32.and(i32.wrap(i64.shiftRight(get(entry), long(8))), int(255))),
  ]),
  ...drop,
  set(length, i64.extend(i32.and(get(symbol), int(15)))),
  choose(
    i64.isZero(get(length)),
    [set(entry, long(0)), choose(i32.less(get(symbol), int(0xf0)), [move(k, int(END_OF_BLOCK))], [move(k, int(16))])],
    [
      move(k, i32.add(i32.shiftRight(get(symbol), int(4)), int(1))),
      set(entry, next(get(length))),
      // Values that begin with a zero are the negative ones.
      when(i64.isZero(i64.shiftRight(get(bits), long(63))), [
        set(entry, i64.add(i64.sub(get(entry), i64.shiftLeft(long(1), get(length))), long(1))),
      ]),
      set(entry, i64.shiftLeft(get(entry), long(16))),
      ...drop,
    ],
  ),
];

/** Reads a code and its value, which is then in the bits of `entry` from 16 on. */
const decode = (from: number): Instructions[] => [
  ...refill,
  set(table, i32.load(get(block), from)),
  set(entry, i64.load32(words(i32.wrap(next(long(LOOKUP_BITS)))))),
  set(length, i64.and(get(entry), long(255))),
  choose(i64.isZero(get(length)), decodeApart, [
    ...drop,
    move(k, i32.and(i32.wrap(i64.shiftRight(get(entry), long(8))), int(255))),
  ]),
];

/** Bits of the segment that were not taken; below 0, and so very large, behind its end. */
const remaining = i32.add(i32.shiftLeft(i32.sub(i32.add(get(at), int(8)), field('end')), int(3)), i32.wrap(get(count)));

/** Goes on with the next segment, once this one is read but for bits of its last byte. */
const restart: Instructions[] = [
  when(i32.atLeast(remaining, int(8)), [leave(int(0))]),
  set(k, field('segment')),
  when(i32.equal(get(k), field('segmentsEnd')), [leave(int(0))]),
  set(at, i32.load(get(k))),
  i32.store(get(state), i32.load(get(k), 4), STATE.end),
  i32.store(get(state), i32.add(get(k), int(8)), STATE.segment),
  ...[set(bits, long(0)), set(count, long(0)), set(left, field('restart'))],
  v128.store(get(state), ZERO, STATE.predictions),
];

const readBlock: Instructions[] = [
  ...Array.from({ length: BLOCK_BYTES / 16 }, (_, i) => v128.store(get(to), ZERO, 16 * i)),
  ...decode(PLAN.dc),
  set(entry, i64.shiftRightSigned(get(entry), long(16))),
  set(k, i32.load(get(block), PLAN.prediction)),
  set(prediction, i32.add(i32.load(get(k)), i32.wrap(get(entry)))),
  i32.store(get(k), get(prediction)),
  i32.store16(get(to), get(prediction)),
  set(k, int(1)),
  repeat(
    [
      ...decode(PLAN.ac),
      i64.store16(i32.add(get(to), i32.load8(i32.add(get(order), get(k)))), i64.shiftRight(get(entry), long(16))),
    ],
    i32.less(get(k), int(64)),
  ),
  // Beyond the last coefficient without the end of the block.
  when(i32.less(i32.sub(get(k), int(65)), int(END_OF_BLOCK - 65)), [leave(int(0))]),
  i32.store8(get(lasts), i32.and(get(k), int(END_OF_BLOCK - 1))),
];

/**
 * `scan(state, groups, plan, planEnd, to, lasts, order)` reads the next groups of blocks: of each block the coefficients in the
 * order of its rows, and the number of those up to the last that is not zero. It gives 0 where the codes are damaged or end
 * too early.
 */
export function scan(): Code {
  return {
    name: 'scan',
    parameters: new Array<number>(7).fill(I32),
    results: [I32],
    locals: [...new Array<number>(4).fill(I64), ...new Array<number>(7).fill(I32)],
    body: [
      ...[set(bits, i64.load(get(state), STATE.bits)), set(count, i64.load(get(state), STATE.count))],
      ...[set(at, field('at')), set(left, field('left'))],
      repeat(
        [
          when(i32.isZero(get(left)), restart),
          ...[set(left, i32.sub(get(left), int(1))), set(block, get(plan))],
          loop(block, planEnd, [
            ...readBlock,
            ...[move(lasts, int(1)), move(to, int(BLOCK_BYTES)), move(block, int(PLAN.bytes))],
          ]),
          when(i32.atLeast(remaining, int(-(2 ** 31))), [leave(int(0))]),
          set(groups, i32.sub(get(groups), int(1))),
        ],
        get(groups),
      ),
      ...[i64.store(get(state), get(bits), STATE.bits), i64.store(get(state), get(count), STATE.count)],
      ...[i32.store(get(state), get(at), STATE.at), i32.store(get(state), get(left), STATE.left)],
      int(1),
    ],
  };
}
