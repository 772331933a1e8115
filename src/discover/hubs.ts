/** Hub correction: names that are near every image count less in votes. */
import { type Rows, rowCount } from './row-pass.ts';

/** Images and names whose products are the corrected cosines; one value wider than what they are made of. */
export interface Corrected {
  readonly features: Rows;
  readonly prototypes: Float32Array;
  readonly width: number;
}

// Rows that the mean reads at a time.
const BLOCK = 16_384;

/**
 * Takes the part of a name's score away that all images give it: z·h − strength · mean(z)·h (mean-similarity subtraction; 1
 * takes all of it away). The bias of a name travels as one more value of its row, against a 1 in every image's.
 * @param features rows of N images
 * @param prototypes [V, features.width]
 * @param strength 0 changes no score
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function withoutHubs(features: Rows, prototypes: Float32Array, strength: number): Promise<Corrected> {
  const { count, width } = features;
  const names = rowCount(prototypes, width, 'prototypes');
  const mean = await meanOf(features);
  const biased = new Float32Array(names * (width + 1));
  for (let name = 0; name < names; name++) {
    let bias = 0;
    for (let d = 0; d < width; d++) bias += mean[d] * prototypes[name * width + d];
    biased.set(prototypes.subarray(name * width, (name + 1) * width), name * (width + 1));
    biased[name * (width + 1) + width] = -strength * bias;
  }
  const read = async (start: number, end: number): Promise<Float32Array> => {
    const rows = await features.read(start, end);
    const wider = new Float32Array((end - start) * (width + 1)).fill(1);
    for (let i = 0; i < end - start; i++) wider.set(rows.subarray(i * width, (i + 1) * width), i * (width + 1));
    return wider;
  };
  return { features: { count, width: width + 1, read }, prototypes: biased, width: width + 1 };
}

/** The mean row, in one pass. */
async function meanOf({ count, width, read }: Rows): Promise<Float64Array> {
  const sum = new Float64Array(width);
  for (let start = 0; start < count; start += BLOCK) {
    const end = Math.min(count, start + BLOCK);
    const rows = await read(start, end);
    for (let i = 0, at = 0; i < end - start; i++) for (let d = 0; d < width; d++, at++) sum[d] += rows[at];
  }
  return sum.map(value => value / count);
}
