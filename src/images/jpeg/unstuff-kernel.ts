/** The entropy-coded bytes of a JPEG file without what is stuffed into them, backwards, so that the next bits are high ones. */
import {
  type Code,
  choose,
  get,
  I32,
  type Instructions,
  i8x16,
  i32,
  int,
  leave,
  move,
  set,
  V128,
  v128,
  when,
  whilst,
} from '../../wasm.ts';

const REVERSED = Array.from({ length: 16 }, (_, i) => 15 - i);

/**
 * `unstuff(from, end, to, segments, segmentsEnd)` writes the bytes of a scan backwards, down from `to`, so that the next bits of
 * the file are the high bits of a number; and a record [address of the first 8 bytes, address of the last byte] for each
 * segment between restarts. It gives the end of the records, or 0 where the scan does not end in the end of the image.
 */
export function unstuff(): Code {
  const [from, end, to, segments, segmentsEnd, first, free, expected, next, bytes] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const close: Instructions[] = [
    when(i32.equal(get(segments), get(segmentsEnd)), [leave(int(0))]),
    i32.store(get(segments), i32.sub(get(first), int(8))),
    i32.store(get(segments), get(to), 4),
    move(segments, int(8)),
  ];
  return {
    name: 'unstuff',
    parameters: [I32, I32, I32, I32, I32],
    results: [I32],
    locals: [I32, I32, I32, I32, V128],
    body: [
      ...[set(first, get(to)), set(expected, int(0xd0))],
      whilst(i32.less(get(from), get(end)), [
        set(bytes, v128.load(get(from))),
        v128.store(i32.sub(get(to), int(16)), i8x16.shuffle(get(bytes), get(bytes), REVERSED)),
        // How many come before the first 0xff.
        set(free, i8x16.bitmask(i8x16.equal(get(bytes), i8x16.splat(int(255))))),
        set(free, i32.ctz(i32.or(get(free), int(1 << 16)))),
        ...[move(from, get(free)), set(to, i32.sub(get(to), get(free)))],
        when(i32.less(get(free), int(16)), [
          set(next, i32.load8(get(from), 1)),
          move(from, int(2)),
          choose(
            i32.isZero(get(next)),
            [set(to, i32.sub(get(to), int(1)))],
            [
              ...close,
              when(i32.equal(get(next), int(0xd9)), [leave(get(segments))]),
              when(i32.differ(get(next), get(expected)), [leave(int(0))]),
              set(expected, i32.or(i32.and(i32.add(get(expected), int(1)), int(7)), int(0xd0))),
              set(first, get(to)),
            ],
          ),
        ]),
      ]),
      int(0),
    ],
  };
}
