/** Plain JPEG files decoded in this thread, wholly or in part, with every byte as libjpeg-turbo has it. */
import type { Rect } from '../image.ts';
import { BEFORE, ROUNDINGS } from './color-kernel.ts';
import { type JpegFrame, NATURAL } from './header.ts';
import { MOST_COEFFICIENT } from './idct-kernel.ts';
import { jpegKernel } from './kernel.ts';
import { TABLE_BYTES, writeLookup } from './lookup.ts';
import { BLOCK_BYTES, NOWHERE, OVERRUN, PLAN, STATE } from './scan-kernel.ts';

/** Bytes that vectors may touch around every area. */
const SLACK = 64;

/** Pixels of an image, from some of its first. */
export interface Part {
  /** `[height, width, 3]` in the thread's memory: it holds until the next image is decoded. */
  data: Uint8Array;
  /** Where in the image they are. */
  rect: Rect;
}

/** A plane's samples of one row of groups, with a row above and one below. */
interface Plane {
  /** The first sample of the row above. */
  readonly at: number;
  readonly stride: number;
  /** Rows of a row of groups. */
  readonly rows: number;
  /** Columns, and rows of the whole image. */
  readonly width: number;
  readonly height: number;
}

/** Of a Huffman table, so that the next begins at a word. */
const TABLE_AREA = Math.ceil(TABLE_BYTES / 16) * 16;

const LARGEST_FILE = 2 ** 28;

/**
 * Decodes the pixels in `wanted`, and may be some around.
 *
 * @returns undefined where the file is damaged, cut off, or its scan not plain: another decoder has to say what it is
 */
export function decodeJpeg(bytes: Uint8Array, frame: JpegFrame, wanted: Rect): Part | undefined {
  if (bytes.length > LARGEST_FILE) return undefined;
  const { width, height, components } = frame;
  const [{ across, down }] = components;
  const [groupWidth, groupHeight] = [8 * across, 8 * down];
  const [groupsAcross, groupsDown] = [Math.ceil(width / groupWidth), Math.ceil(height / groupHeight)];
  const blocks = components.reduce((sum, component) => sum + component.across * component.down, 0);
  // A block has at least two bits, so that no small file claims to be a large image.
  if (2 * blocks * groupsAcross * groupsDown > 8 * (bytes.length - frame.scan)) return undefined;
  const segments = frame.restart === 0 ? 1 : Math.ceil((groupsAcross * groupsDown) / frame.restart);
  // Colour that is enlarged takes a sample from either side.
  const [rightEnd, bottom] = [wanted.x + wanted.width, wanted.y + wanted.height];
  const firstGroup = Math.floor(Math.max(0, wanted.x - across + 1) / groupWidth);
  const endGroup = Math.min(groupsAcross, Math.floor((rightEnd + across - 2) / groupWidth) + 1);
  const firstRow = Math.floor(Math.max(0, wanted.y - down + 1) / groupHeight);
  const lastRow = Math.min(groupsDown, Math.floor((bottom + down - 2) / groupHeight) + 1) - 1;
  const x = firstGroup * groupWidth;
  const rect: Rect = { x, y: wanted.y, width: Math.min(width, endGroup * groupWidth) - x, height: wanted.height };

  let size = 0;
  const area = (length: number): number => {
    const at = size;
    size += Math.ceil((length + SLACK) / 16) * 16;
    return at;
  };
  const scanBytes = bytes.length - frame.scan;
  const [state, order, plan, divisors] = [
    area(STATE.bytes),
    area(256),
    area(PLAN.bytes * blocks),
    area(2 * BLOCK_BYTES * components.length),
  ];
  const tables = area(2 * components.length * TABLE_AREA);
  const records = area(8 * segments);
  const file = area(scanBytes);
  const reversed = area(OVERRUN + scanBytes + 16) + OVERRUN;
  const coefficients = area((blocks * groupsAcross + 1) * BLOCK_BYTES);
  const lasts = area(blocks * groupsAcross);
  const planes = components.map((component): Plane => {
    const rows = 8 * component.down;
    const stride = groupsAcross * 8 * component.across + 2 * SLACK;
    return {
      at: area(stride * (rows + 2)) + SLACK,
      stride,
      rows,
      width: Math.ceil((width * component.across) / across),
      height: Math.ceil((height * component.down) / down),
    };
  });
  const out = area(3 * rect.width * rect.height);
  const kernel = jpegKernel(size);
  if (!kernel) return undefined;
  const memory = new Uint8Array(kernel.memory.buffer);
  const words = new Int32Array(kernel.memory.buffer);

  memory.set(bytes.subarray(frame.scan), file);
  memory.fill(0, file + scanBytes, file + scanBytes + SLACK);
  const top = reversed + scanBytes;
  const recordsEnd = kernel.unstuff(file, file + scanBytes, top, records, records + 8 * segments);
  if (recordsEnd !== records + 8 * segments) return undefined;

  for (let k = 0; k < 256; k++) memory[order + k] = k > 0 && k <= 64 ? 2 * NATURAL[k - 1] : NOWHERE;
  let entry = plan;
  for (const [c, component] of components.entries()) {
    const [dc, ac] = [0, 1].map(i => tables + (2 * c + i) * TABLE_AREA);
    writeLookup(component.dc, memory.subarray(dc, dc + TABLE_BYTES));
    writeLookup(component.ac, memory.subarray(ac, ac + TABLE_BYTES));
    const factors = divisors + 2 * BLOCK_BYTES * c;
    const limits = component.divisors.map(divisor => Math.min(MOST_COEFFICIENT / divisor, 2 ** 15 - 1));
    new Uint16Array(memory.buffer, factors, 128).set([...component.divisors, ...limits]);
    const { at, stride } = planes[c];
    for (let block = 0; block < component.across * component.down; block++) {
      const [column, row] = [block % component.across, Math.floor(block / component.across)];
      const to = at + stride * (1 + 8 * row) + 8 * column;
      const prediction = state + STATE.predictions + 4 * c;
      words.set([dc, ac, prediction, factors, to, 8 * component.across, stride], entry / 4);
      entry += PLAN.bytes;
    }
  }
  // A reader at the end of nothing begins with the first segment.
  memory.fill(0, state, state + STATE.bytes);
  for (const [field, value] of [
    [STATE.at, records - 8],
    [STATE.end, records],
    [STATE.segment, records],
    [STATE.segmentsEnd, recordsEnd],
    [STATE.restart, frame.restart === 0 ? 2 ** 31 - 1 : frame.restart],
  ]) {
    words[(state + field) / 4] = value;
  }

  const [luma, blue, red] = planes;
  const colours = planes.slice(1);
  const convert = colours.length === 0 ? kernel.grey : across === 2 ? kernel.enlarge : kernel.direct;
  const [left, right] = ROUNDINGS[down === 2 ? 2 : 1];
  const [rowBytes, column] = [3 * rect.width, x / across - (across === 2 ? BEFORE : 0)];
  // Of the row above; both planes of colour are alike.
  const lumaAt = luma.at + x;
  const [blueAt, redAt, stride] = colours.length > 0 ? [blue.at + column, red.at + column, blue.stride] : [0, 0, 0];
  for (let row = 0; row <= lastRow; row++) {
    if (kernel.scan(state, groupsAcross, plan, entry, coefficients, lasts, order) === 0) return undefined;
    if (row < firstRow) continue;
    const skipped = firstGroup * blocks;
    const at = coefficients + BLOCK_BYTES * skipped;
    if (kernel.transform(at, lasts + skipped, plan, entry, firstGroup, endGroup) === 0) return undefined;
    const isLast = row === groupsDown - 1;
    if (across === 2) for (const plane of colours) repeatBorders(memory, plane, row, isLast);
    // The last row waits for the one below, where colour has half the rows.
    const from = Math.max(wanted.y, row * groupHeight - down + 1);
    const end = Math.min(bottom, isLast ? height : (row + 1) * groupHeight - down + 1);
    for (let y = from; y < end; y++) {
      const line = y - row * groupHeight + 1;
      const near = stride * (down === 2 ? (line + 1) >> 1 : line);
      const far = down === 1 ? near : near + (y % 2 === 1 ? stride : -stride);
      const to = out + rowBytes * (y - wanted.y);
      const bright = lumaAt + luma.stride * line;
      convert(bright, blueAt + near, redAt + near, blueAt + far, redAt + far, to, to + rowBytes, left, right);
    }
    if (down === 2) {
      for (const { at, stride, rows } of planes) {
        const from = at - SLACK + stride * rows;
        memory.copyWithin(at - SLACK, from, from + stride);
      }
    }
  }
  return { data: memory.subarray(out, out + 3 * rect.width * rect.height), rect };
}

/** Repeats the samples of a plane's border beyond it, as far as they are in this row of groups. */
function repeatBorders(
  memory: Uint8Array,
  { at, stride, rows, width, height }: Plane,
  row: number,
  isLast: boolean,
): void {
  for (let line = 1; line <= rows; line++) {
    const first = at + stride * line;
    memory[first - 1] = memory[first];
    memory[first + width] = memory[first + width - 1];
  }
  const copy = (line: number, to: number): unknown =>
    memory.copyWithin(at - SLACK + stride * to, at - SLACK + stride * line, at - SLACK + stride * (line + 1));
  if (row === 0) copy(1, 0);
  if (isLast) copy(height - rows * row, height - rows * row + 1);
}
