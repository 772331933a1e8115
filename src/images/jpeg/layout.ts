/** Which groups of blocks a part of an image is made of, and what lies where in the memory of the kernels. */
import type { Rect } from '../image.ts';
import type { JpegFrame } from './header.ts';
import { TABLE_BYTES } from './lookup.ts';
import { BLOCK_BYTES, OVERRUN, PLAN, STATE } from './scan-kernel.ts';

/** Bytes that vectors may touch around every area. */
export const SLACK = 64;

/** A plane's samples of one row of groups, with a row above and one below. */
export interface Plane {
  /** The first sample of the row above. */
  readonly at: number;
  readonly stride: number;
  /** Rows of a row of groups. */
  readonly rows: number;
  /** Columns, and rows of the whole image. */
  readonly width: number;
  readonly height: number;
}

/** Groups of blocks: all of the image, and those that are made pixels of. */
export interface Groups {
  /** Pixels of a group. */
  readonly width: number;
  readonly height: number;
  readonly across: number;
  readonly down: number;
  /** Blocks of a group. */
  readonly blocks: number;
  /** From the first column to behind the last. */
  readonly firstColumn: number;
  readonly endColumn: number;
  readonly firstRow: number;
  readonly endRow: number;
}

/** The groups that hold the wanted pixels and what their colours are enlarged from. */
export function groupsOf({ width, height, components }: JpegFrame, wanted: Rect): Groups {
  const [luma] = components;
  const [groupWidth, groupHeight] = [8 * luma.across, 8 * luma.down];
  const [across, down] = [Math.ceil(width / groupWidth), Math.ceil(height / groupHeight)];
  // Colour that is enlarged takes a sample from either side.
  const [beside, above] = [luma.across - 1, luma.down - 1];
  const first = (from: number, size: number): number => Math.floor(Math.max(0, from) / size);
  const [right, bottom] = [wanted.x + wanted.width - 1, wanted.y + wanted.height - 1];
  return {
    width: groupWidth,
    height: groupHeight,
    across,
    down,
    blocks: components.reduce((sum, component) => sum + component.across * component.down, 0),
    firstColumn: first(wanted.x - beside, groupWidth),
    endColumn: Math.min(across, first(right + beside, groupWidth) + 1),
    firstRow: first(wanted.y - above, groupHeight),
    endRow: Math.min(down, first(bottom + above, groupHeight) + 1),
  };
}

/** Addresses of everything, in bytes. */
export interface Layout {
  readonly state: number;
  readonly order: number;
  readonly plan: number;
  readonly planEnd: number;
  /** For each plane its divisors and its largest coefficients. */
  readonly divisors: readonly number[];
  /** For each plane the tables of its codes. */
  readonly codes: readonly { readonly dc: number; readonly ac: number }[];
  readonly segments: number;
  readonly segmentsEnd: number;
  readonly file: number;
  /** Behind the bytes that are kept backwards. */
  readonly reversedEnd: number;
  readonly coefficients: number;
  readonly lasts: number;
  readonly planes: readonly Plane[];
  readonly pixels: number;
  /** Bytes of all. */
  readonly size: number;
}

/** Places for everything that the kernels read and write. */
export function layOut(frame: JpegFrame, groups: Groups, scanBytes: number, pixelBytes: number): Layout {
  const { width, height, components, restart } = frame;
  const [luma] = components;
  let size = 0;
  const area = (length: number): number => {
    const at = size;
    size += Math.ceil((length + SLACK) / 16) * 16;
    return at;
  };
  const segments = restart === 0 ? 1 : Math.ceil((groups.across * groups.down) / restart);
  const [plan, records] = [area(PLAN.bytes * groups.blocks), area(8 * segments)];
  const planes = components.map(({ across, down }): Plane => {
    const [rows, stride] = [8 * down, groups.across * 8 * across + 2 * SLACK];
    return {
      at: area(stride * (rows + 2)) + SLACK,
      stride,
      rows,
      width: Math.ceil((width * across) / luma.across),
      height: Math.ceil((height * down) / luma.down),
    };
  });
  return {
    state: area(STATE.bytes),
    order: area(256),
    plan,
    planEnd: plan + PLAN.bytes * groups.blocks,
    divisors: components.map(() => area(2 * BLOCK_BYTES)),
    codes: components.map(() => ({ dc: area(TABLE_BYTES), ac: area(TABLE_BYTES) })),
    segments: records,
    segmentsEnd: records + 8 * segments,
    file: area(scanBytes),
    reversedEnd: area(OVERRUN + scanBytes + 16) + OVERRUN + scanBytes,
    coefficients: area((groups.blocks * groups.across + 1) * BLOCK_BYTES),
    lasts: area(groups.blocks * groups.across),
    planes,
    pixels: area(pixelBytes),
    size,
  };
}
