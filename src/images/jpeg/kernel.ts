/** The JPEG kernels of a thread, in one memory. */
import { keptInstance, type Memory } from '../../wasm.ts';
import { colorCodes } from './color-kernel.ts';
import { transform } from './idct-kernel.ts';
import { scan } from './scan-kernel.ts';
import { unstuff } from './unstuff-kernel.ts';

type Row = (
  ...addresses: [
    ...[luma: number, nearBlue: number, nearRed: number, farBlue: number, farRed: number],
    ...[to: number, end: number, left: number, right: number],
  ]
) => void;

export interface JpegKernel {
  readonly memory: Memory;
  unstuff(from: number, end: number, to: number, segments: number, segmentsEnd: number): number;
  scan(
    ...[state, groups, plan, planEnd, to, lasts, order]: [
      ...[state: number, groups: number, plan: number, planEnd: number, to: number, lasts: number, order: number],
    ]
  ): number;
  transform(
    coefficients: number,
    lasts: number,
    plan: number,
    planEnd: number,
    group: number,
    groupEnd: number,
  ): number;
  enlarge: Row;
  direct: Row;
  grey: Row;
}

const kept = keptInstance<JpegKernel>(() => [unstuff(), scan(), transform(), ...colorCodes()]);

/** The thread's kernel, with at least `bytes` of memory that hold anything, if there are; the next call may give the same one. */
export function jpegKernel(bytes: number): JpegKernel | undefined {
  try {
    return kept(bytes);
  } catch {
    return undefined;
  }
}
