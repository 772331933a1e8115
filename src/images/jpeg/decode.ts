/** Plain JPEG files decoded in this thread, wholly or in part, with every byte as libjpeg-turbo has it. */
import type { Rect } from '../image.ts';
import { BEFORE, ROUNDINGS } from './color-kernel.ts';
import { type JpegFrame, NATURAL } from './header.ts';
import { MOST_COEFFICIENT } from './idct-kernel.ts';
import { type JpegKernel, jpegKernel } from './kernel.ts';
import { type Groups, groupsOf, type Layout, layOut, type Plane, SLACK } from './layout.ts';
import { TABLE_BYTES, writeLookup } from './lookup.ts';
import { BLOCK_BYTES, NOWHERE, PLAN, STATE } from './scan-kernel.ts';

/** Pixels of an image, from some of its first. */
export interface Part {
  /** `[height, width, 3]` in the thread's memory: it holds until the next image is decoded. */
  data: Uint8Array;
  /** Where in the image they are. */
  rect: Rect;
}

const LARGEST_FILE = 2 ** 28;

/**
 * Decodes the pixels in `wanted`, and may be some around; what lies below is not even looked at, but for the end of the file.
 *
 * @returns undefined where the file is damaged, cut off, or its scan not plain: another decoder has to say what it is
 */
export function decodeJpeg(bytes: Uint8Array, frame: JpegFrame, wanted: Rect): Part | undefined {
  const groups = groupsOf(frame, wanted);
  const scanBytes = bytes.length - frame.scan;
  // A block has at least two bits, so that no small file claims to be a large image.
  const leastBytes = (groups.blocks * groups.across * groups.down) / 4;
  if (bytes.length > LARGEST_FILE || scanBytes < leastBytes) return undefined;
  const x = groups.firstColumn * groups.width;
  const right = Math.min(frame.width, groups.endColumn * groups.width);
  const rect: Rect = { x, y: wanted.y, width: right - x, height: wanted.height };
  const pixelBytes = 3 * rect.width * rect.height;
  const layout = layOut(frame, groups, scanBytes, pixelBytes);
  const kernel = jpegKernel(layout.size);
  if (!kernel) return undefined;

  const memory = new Uint8Array(kernel.memory.buffer);
  const { file, reversedEnd, segments, segmentsEnd, pixels } = layout;
  memory.set(bytes.subarray(frame.scan), file);
  memory.fill(0, file + scanBytes, file + scanBytes + SLACK);
  if (kernel.unstuff(file, file + scanBytes, reversedEnd, segments, segmentsEnd) !== segmentsEnd) return undefined;
  writeTables(memory, frame, layout);
  if (!writePixels(kernel, memory, frame, groups, layout, rect)) return undefined;
  return { data: memory.subarray(pixels, pixels + pixelBytes), rect };
}

/** What the kernels read beside the file. */
function writeTables(memory: Uint8Array, { components, restart }: JpegFrame, layout: Layout): void {
  const words = new Int32Array(memory.buffer);
  const { state, order, plan, segments, segmentsEnd } = layout;
  for (let k = 0; k < 256; k++) memory[order + k] = k > 0 && k <= 64 ? 2 * NATURAL[k - 1] : NOWHERE;
  let entry = plan / 4;
  for (const [c, component] of components.entries()) {
    const { dc, ac } = layout.codes[c];
    writeLookup(component.dc, memory.subarray(dc, dc + TABLE_BYTES));
    writeLookup(component.ac, memory.subarray(ac, ac + TABLE_BYTES));
    const limits = component.divisors.map(divisor => Math.min(MOST_COEFFICIENT / divisor, 2 ** 15 - 1));
    new Uint16Array(memory.buffer, layout.divisors[c], 128).set([...component.divisors, ...limits]);
    const { at, stride } = layout.planes[c];
    for (let block = 0; block < component.across * component.down; block++) {
      const [column, row] = [block % component.across, Math.floor(block / component.across)];
      const to = at + stride * (1 + 8 * row) + 8 * column;
      const prediction = state + STATE.predictions + 4 * c;
      words.set([dc, ac, prediction, layout.divisors[c], to, 8 * component.across, stride], entry);
      entry += PLAN.bytes / 4;
    }
  }
  // A reader at the end of nothing begins with the first segment.
  memory.fill(0, state, state + STATE.bytes);
  words[(state + STATE.at) / 4] = segments - 8;
  words[(state + STATE.end) / 4] = segments;
  words[(state + STATE.segment) / 4] = segments;
  words[(state + STATE.segmentsEnd) / 4] = segmentsEnd;
  words[(state + STATE.restart) / 4] = restart === 0 ? 2 ** 31 - 1 : restart;
}

/** Row after row of groups to pixels; false where the codes are damaged. */
function writePixels(
  kernel: JpegKernel,
  memory: Uint8Array,
  { height, components }: JpegFrame,
  groups: Groups,
  { state, order, plan, planEnd, coefficients, lasts, planes, pixels }: Layout,
  rect: Rect,
): boolean {
  const [{ across, down }] = components;
  const [luma, ...colours] = planes;
  const convert = colours.length === 0 ? kernel.grey : across === 2 ? kernel.enlarge : kernel.direct;
  const [left, right] = ROUNDINGS[down === 2 ? 2 : 1];
  const column = rect.x / across - (across === 2 ? BEFORE : 0);
  // Both planes of colour are alike; of grey images what stands for them is not looked at.
  const [blueAt, redAt] = [0, 1].map(c => (colours[c]?.at ?? 0) + column);
  const stride = colours[0]?.stride ?? 0;
  const [rowBytes, skipped] = [3 * rect.width, groups.firstColumn * groups.blocks];
  for (let row = 0; row < groups.endRow; row++) {
    if (kernel.scan(state, groups.across, plan, planEnd, coefficients, lasts, order) === 0) return false;
    if (row < groups.firstRow) continue;
    const at = coefficients + BLOCK_BYTES * skipped;
    const { firstColumn, endColumn } = groups;
    if (kernel.transform(at, lasts + skipped, plan, planEnd, firstColumn, endColumn) === 0) return false;
    const [isLast, top] = [row === groups.down - 1, row * groups.height];
    if (across === 2) for (const plane of colours) repeatBorders(memory, plane, row, isLast);
    // Where colour has half the rows, the last row of pixels waits for the next row of groups.
    const ready = isLast ? height : top + groups.height - down + 1;
    const end = Math.min(rect.y + rect.height, ready);
    for (let y = Math.max(rect.y, top - down + 1); y < end; y++) {
      const line = y - top + 1;
      const near = stride * (down === 2 ? (line + 1) >> 1 : line);
      const far = down === 1 ? near : near + (y % 2 === 1 ? stride : -stride);
      const to = pixels + rowBytes * (y - rect.y);
      const light = luma.at + luma.stride * line + rect.x;
      convert(light, blueAt + near, redAt + near, blueAt + far, redAt + far, to, to + rowBytes, left, right);
    }
    if (down === 2) for (const plane of planes) copyLine(memory, plane, plane.rows, 0);
  }
  return true;
}

/** Repeats the samples of a plane's border beyond it, as far as they are in this row of groups. */
function repeatBorders(memory: Uint8Array, plane: Plane, row: number, isLast: boolean): void {
  const { at, stride, rows, width, height } = plane;
  for (let line = 1; line <= rows; line++) {
    const first = at + stride * line;
    memory[first - 1] = memory[first];
    memory[first + width] = memory[first + width - 1];
  }
  if (row === 0) copyLine(memory, plane, 1, 0);
  const last = height - rows * row;
  if (isLast) copyLine(memory, plane, last, last + 1);
}

/** Copies a row of samples, 0 being the one above, with what is beside it. */
function copyLine(memory: Uint8Array, { at, stride }: Plane, from: number, to: number): void {
  const start = at - SLACK + stride * from;
  memory.copyWithin(at - SLACK + stride * to, start, start + stride);
}
