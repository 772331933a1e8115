/** The images of a clustering once they are loaded, shared out among slices, and what they say about themselves. */
import { S3aError } from '../../errors.ts';
import type { Rows } from '../row-pass.ts';
import { openSlices, type Slice } from './slices.ts';

export interface Loaded {
  readonly count: number;
  readonly width: number;
  readonly slices: readonly Slice[];
  /** [count] squared lengths, and their sum. */
  readonly norms: Float64Array;
  readonly total: number;
  /** Of the grid on which sums of rows are exact, whatever the order. */
  readonly magic: number;
}

// Values that are read and handed to a slice at once: 4 MB.
const BLOCK = 2 ** 20;

/**
 * Reads rows once, into the slices.
 * @throws S3aError VALUE when a feature is not finite; MEMORY
 */
export async function loadRows({ count, width, read }: Rows, threads: number | undefined): Promise<Loaded> {
  const slices = await openSlices(count, width, threads);
  try {
    const step = Math.min(count, Math.max(1, Math.floor(BLOCK / width)));
    await all(slices, async slice => {
      // Memory that both threads see, used again for every block: fresh memory costs as much as the copy.
      const shared = new Float32Array(new SharedArrayBuffer(4 * step * width));
      for (let start = slice.start; start < slice.end; start += step) {
        const rows = await read(start, Math.min(slice.end, start + step));
        shared.set(rows);
        await slice.ask<'append'>({ kind: 'append', block: shared.subarray(0, rows.length) });
      }
    });
    const norms = joined(await all(slices, slice => slice.ask<'norms'>({ kind: 'norms' })), count);
    const bad = norms.findIndex(norm => !Number.isFinite(norm));
    if (bad >= 0) throw new S3aError('VALUE', `the features of image ${bad} are not all finite numbers`);
    const largest = norms.reduce((most, norm) => Math.max(most, norm), 1e-30);
    // No value is larger than a row is long. Sums of all rows stay below 2⁵² steps of the grid, so float64 holds every one
    // of them exactly.
    const magic = 1.5 * 2 ** Math.ceil(Math.log2(Math.sqrt(largest) * count));
    return { count, width, slices, norms, total: sum(norms), magic };
  } catch (error) {
    await all(slices, slice => slice.close());
    throw error;
  }
}

/** One row [width]. */
export async function loadedRow({ slices }: Loaded, index: number): Promise<Float32Array> {
  const slice = slices.find(({ end }) => index < end)!;
  return slice.ask<'row'>({ kind: 'row', index: index - slice.start });
}

export const all = <T>(slices: readonly Slice[], ask: (slice: Slice) => Promise<T>): Promise<T[]> =>
  Promise.all(slices.map(ask));

/** Parts one after the other. */
export function joined(parts: readonly Float64Array[], length: number): Float64Array {
  const whole = new Float64Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** In the order of the values. */
export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
