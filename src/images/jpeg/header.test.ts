/** What is plain and what is not, by files of a few segments of which one differs. */
import { describe, expect, it } from 'vitest';
import { readHeader } from './header.ts';
import { jpegSize } from './segments.ts';

const text = (value: string): number[] => [...value].map(c => c.charCodeAt(0));
const zeros = (length: number): number[] => new Array<number>(length).fill(0);
const segment = (kind: number, ...body: number[]): number[] => {
  const length = body.length + 2;
  return [0xff, kind, length >> 8, length & 255, ...body];
};

const jfif = segment(0xe0, ...text('JFIF\0'), 1, 1, 0, 0, 1, 0, 1, 0, 0);
const divisors = segment(0xdb, 0, ...new Array<number>(64).fill(3));
const code = (place: number, symbol = 0): number[] => segment(0xc4, place, 1, ...zeros(15), symbol);
const tables = [...divisors, ...code(0x00), ...code(0x10)];

type Plane = [id: number, sampling: number, table: number];
const planes: Plane[] = [
  [1, 0x22, 0],
  [2, 0x11, 0],
  [3, 0x11, 0],
];
const named = (names: string): Plane[] => planes.map(([, ...rest], i) => [names.charCodeAt(i), ...rest]);
const sampled = (...factors: number[]): Plane[] => planes.map(([id, , table], i) => [id, factors[i], table]);

const frame = (list: Plane[] = planes, width = 20, height = 10, bits = 8, kind = 0xc0): number[] =>
  segment(kind, bits, 0, height, 0, width, list.length, ...list.flat());
const scan = (list: Plane[] = planes, codes = 0, spectrum = [0, 63, 0]): number[] =>
  segment(0xda, list.length, ...list.flatMap(([id]) => [id, codes]), ...spectrum);

/** A file of these segments. */
const file = (...segments: number[][]): Uint8Array => Uint8Array.from([0xff, 0xd8, ...segments.flat(), 1, 2, 3, 4]);
/** A whole file with more segments in front. */
const behind = (...segments: number[][]): Uint8Array => file(...segments, tables, frame(), scan());

/** EXIF data with one entry: tag, type, count and value, in the order of bytes of Intel or Motorola. */
function exif(little: boolean, [tag, type, count, value]: number[], magic = 42, entries = 1, directory = 8): number[] {
  const short = (n: number): number[] => (little ? [n & 255, n >> 8] : [n >> 8, n & 255]);
  const long = (n: number): number[] => (little ? [...short(n), 0, 0] : [0, 0, ...short(n)]);
  const head = [...text(little ? 'II' : 'MM'), ...short(magic), ...long(directory)];
  const entry = [...short(tag), ...short(type), ...long(count), ...short(value), 0, 0];
  return segment(0xe1, ...text('Exif\0\0'), ...head, ...short(entries), ...entry);
}
const ORIENTATION = 0x0112;

describe('plain', () => {
  it.each<[string, Uint8Array]>([
    ['colour of half the size', behind()],
    ['a frame of extended coding', file(tables, frame(planes, 20, 10, 8, 0xc1), scan())],
    ['colour of half the width', file(tables, frame(sampled(0x21, 0x11, 0x11)), scan())],
    ['colour as large as luma', file(tables, frame(sampled(0x11, 0x11, 0x11)), scan())],
    ['five pixels across', file(tables, frame(planes, 5), scan())],
    ['planes of any names beside JFIF', file(jfif, tables, frame(named('RGB')), scan(named('RGB')))],
    ['a comment and a profile', behind(segment(0xfe, 1), segment(0xe2, 1))],
    ['a restart', behind(segment(0xdd, 0, 7))],
    ['16-bit divisors', file(segment(0xdb, 0x10, ...zeros(128)), tables, frame(), scan())],
    ['the orientation of most files', behind(exif(true, [ORIENTATION, 3, 1, 1]), exif(false, [ORIENTATION, 3, 1, 1]))],
    ['EXIF data without orientation', behind(exif(true, [0x0100, 4, 1, 99]))],
    ['what is not EXIF data in its segment', behind(segment(0xe1, ...text('http')))],
    ["Adobe's word for luma and colour", behind(segment(0xee, ...text('Adobe'), ...zeros(6), 1))],
    ['another segment of that number', behind(segment(0xee, ...text('Other'), ...zeros(7)))],
  ])('%s', (_, bytes) => {
    expect(readHeader(bytes)).toBeDefined();
    expect(jpegSize(bytes)).toMatchObject({ height: 10, channels: 3 });
  });

  it('a grey plane, whose sampling says nothing', () => {
    const grey: Plane[] = [[7, 0x22, 0]];
    const found = readHeader(file(tables, frame(grey), scan(grey)))!;
    expect(found.components).toMatchObject([{ across: 1, down: 1 }]);
    expect([found.width, found.height, found.restart]).toEqual([20, 10, 0]);
    expect(readHeader(behind(segment(0xdd, 1, 7)))!.restart).toBe(263);
  });
});

describe('not plain', () => {
  it.each<[string, Uint8Array]>([
    ['two frames', file(tables, frame(), frame(), scan())],
    ['a scan before its frame', file(tables, scan(), frame())],
    ['no scan', file(tables, frame())],
    ['progressive coding', file(tables, frame(planes, 20, 10, 8, 0xc2), scan())],
    ['12 bits', file(tables, frame(planes, 20, 10, 12), scan())],
    ['arithmetic coding', behind(segment(0xcc, 0, 0))],
    ['a height that comes later', behind(segment(0xdc, 0, 10))],
    ['no width', file(tables, frame(planes, 0), scan())],
    ['no height', file(tables, frame(planes, 20, 0), scan())],
    ['two planes', file(tables, frame(planes.slice(1)), scan(planes.slice(1)))],
    ['four inks', file(tables, frame([...planes, [4, 0x11, 0]]), scan([...planes, [4, 0x11, 0]]))],
    ['no planes', file(tables, frame([]), scan([]))],
    ['a frame of five bytes', file(tables, segment(0xc0, 8, 0, 10, 0, 20), segment(0xda, 0, 63, 0, 0))],
    ['a frame with a byte more', file(tables, [...segment(0xc0, 8, 0, 9, 0, 9, 1, 1, 0x11, 0, 0)], scan([planes[1]]))],
    ['planes in several scans', file(tables, frame(), scan(planes.slice(0, 1)))],
    ['planes in another order', file(tables, frame(), scan([planes[0], planes[2], planes[1]]))],
    ['two planes of one name', file(jfif, tables, frame(named('RRB')), scan(named('RRB')))],
    ['red, green and blue', file(tables, frame(named('RGB')), scan(named('RGB')))],
    [
      'red, green and blue beside a JFIF that is cut',
      file(jfif.with(3, 15).slice(0, -1), tables, frame(named('RGB')), scan(named('RGB'))),
    ],
    [
      'red, green and blue beside another APP0',
      file(jfif.with(4, 0x4b), tables, frame(named('RGB')), scan(named('RGB'))),
    ],
    ['red, green and blue by Adobe', behind(segment(0xee, ...text('Adobe'), ...zeros(7)))],
    ['an Adobe segment that is cut', behind(segment(0xee, ...text('Adobe'), ...zeros(6)))],
    ['no sampling', file(tables, frame(sampled(0x02, 0x11, 0x11)), scan())],
    ['a sampling of five', file(tables, frame([[1, 0x55, 0]]), scan([planes[0]]))],
    ['colour of half the height', file(tables, frame(sampled(0x12, 0x11, 0x11)), scan())],
    ['colour of a quarter', file(tables, frame(sampled(0x41, 0x11, 0x11)), scan())],
    ['colours that differ in width', file(tables, frame(sampled(0x22, 0x21, 0x11)), scan())],
    ['colours that differ in height', file(tables, frame(sampled(0x22, 0x11, 0x12)), scan())],
    ['four pixels across', file(tables, frame(planes, 4), scan())],
    ['coefficients from the second', file(tables, frame(), scan(planes, 0, [1, 63, 0]))],
    ['coefficients up to the 62nd', file(tables, frame(), scan(planes, 0, [0, 62, 0]))],
    ['upper bits', file(tables, frame(), scan(planes, 0, [0, 63, 1]))],
    ['divisors that are not there', file(code(0), code(0x10), frame(), scan())],
    ['a code of DC that is not there', file(divisors, code(0x10), frame(), scan())],
    ['a code of AC that is not there', file(divisors, code(0), frame(), scan())],
    ['a code of AC for DC', file(tables, frame(), scan(planes, 0x40))],
    ['divisors of 24 bits', behind(segment(0xdb, 0x20, ...zeros(192)))],
    ['a fifth table of divisors', behind(segment(0xdb, 4, ...zeros(64)))],
    ['divisors that are cut', behind(segment(0xdb, 0, ...zeros(63)))],
    ['16-bit divisors that are cut', behind(segment(0xdb, 0x10, ...zeros(127)))],
    ['a third kind of code', behind(code(0x20))],
    ['a fifth code', behind(code(0x04))],
    ['lengths of codes that are cut', behind(segment(0xc4, 0, ...zeros(15)))],
    ['symbols that are cut', behind(segment(0xc4, 0, 0, 2, ...zeros(14), 1))],
    ['more symbols than there are', behind(segment(0xc4, 0x10, ...zeros(14), 2, 255, ...zeros(257)))],
    ['a code of all ones', behind(segment(0xc4, 0, 2, ...zeros(15), 0, 1))],
    ['differences of 12 bits', behind(code(0, 12))],
    ['coefficients of 11 bits', behind(code(0x10, 11))],
    ['a restart of three bytes', behind(segment(0xdd, 0, 0, 7))],
    ['a turned image', behind(exif(true, [ORIENTATION, 3, 1, 6]))],
    ["a turned image by Motorola's bytes", behind(exif(false, [ORIENTATION, 3, 1, 6]))],
    ['an orientation of 32 bits', behind(exif(true, [ORIENTATION, 4, 1, 1]))],
    ['two orientations', behind(exif(true, [ORIENTATION, 3, 2, 1]))],
    ['a TIFF header of another number', behind(exif(true, [ORIENTATION, 3, 1, 1], 43))],
    ['a TIFF header of no order of bytes', behind(exif(false, [ORIENTATION, 3, 1, 1]).with(10, 0x4e))],
    ['EXIF data whose name goes on', behind(exif(true, [ORIENTATION, 3, 1, 1]).with(8, 1))],
    ['EXIF entries that are cut', behind(exif(true, [0x0100, 3, 1, 1], 42, 2))],
    ['EXIF entries beyond the segment', behind(exif(true, [0x0100, 3, 1, 1], 42, 1, 1000))],
    ['EXIF data of a name alone', Uint8Array.from([0xff, 0xd8, ...segment(0xe1, ...text('Exif'))])],
    ['a restart marker in the header', behind([0xff, 0xd0, 0, 2])],
    ['a second start', behind([0xff, 0xd8, 0, 2])],
    ['no marker', behind([0, 0, 0, 2])],
    ['a marker that is reserved', behind(segment(0xf7))],
    ['a segment without its length', behind([0xff, 0xfe, 0, 1])],
    ['a segment that goes beyond the file', behind([0xff, 0xfe, 255, 255])],
  ])('%s', (_, bytes) => {
    expect(readHeader(bytes)).toBeUndefined();
  });
});

describe('the size', () => {
  it('is that of the first frame, whatever its coding, behind tables', () => {
    const progressive = frame(planes, 30, 40, 8, 0xc2);
    for (const first of [code(0), segment(0xcc, 0, 0), segment(0xc8, 0, 9, 9, 9, 9, 9, 9)]) {
      expect(jpegSize(file(first, progressive, frame()))).toEqual({ width: 30, height: 40, channels: 3 });
    }
  });

  it('is unknown behind a scan and of a frame that is cut', () => {
    expect(jpegSize(file(scan(), frame()))).toBeUndefined();
    expect(jpegSize(file(segment(0xc0, 8, 0, 10, 0), frame()))).toBeUndefined();
    expect(jpegSize(Uint8Array.from([0xff, 0xd8, ...frame().slice(0, -1)]))).toBeUndefined();
  });
});
