/** Seeded features for the benches of discovery: unit rows like CLIP's, made row by row so that any number can be streamed. */
import { random } from '../src/random.ts';

/** Writes one unit row and says of which kind it is. */
export type RowSource = (index: number, row: Float32Array) => number;

function unit(row: Float32Array | Float64Array): void {
  let norm = 0;
  for (const value of row) norm += value * value;
  const scale = 1 / Math.sqrt(norm);
  for (let d = 0; d < row.length; d++) row[d] *= scale;
}

/** A unit row of a stream of its own. */
export function direction(width: number, ...path: (string | number)[]): Float64Array {
  const draw = random('bench', ...path);
  const row = Float64Array.from({ length: width }, () => draw.normal());
  unit(row);
  return row;
}

/**
 * Images of k kinds: what all share, what a kind shares, and noise. Two images of one kind have a cosine of about 0.8, of
 * two kinds of about 0.55, as photographs have it in CLIP's space. With no room for a row only its kind is found.
 */
export function mixtureRows(width: number, k: number): RowSource {
  const common = direction(width, 'common');
  const kinds = Array.from({ length: k }, (_, kind) => direction(width, 'kind', kind));
  return (index, row) => {
    const draw = random('bench', 'image', index);
    const kind = draw.int(k);
    if (row.length === 0) return kind;
    const noise = Float64Array.from({ length: width }, () => draw.normal());
    unit(noise);
    for (let d = 0; d < width; d++) {
      row[d] = Math.sqrt(0.55) * common[d] + Math.sqrt(0.25) * kinds[kind][d] + Math.sqrt(0.2) * noise[d];
    }
    unit(row);
    return kind;
  };
}

function matrix(
  rows: number,
  width: number,
  source: (index: number, row: Float32Array) => void,
): Float32Array<ArrayBuffer> {
  const flat = new Float32Array(rows * width);
  for (let i = 0; i < rows; i++) source(i, flat.subarray(i * width, (i + 1) * width));
  return flat;
}

/** `mixtureRows` as a matrix [images, width]. */
export function mixture(images: number, width: number, k: number): Float32Array<ArrayBuffer> {
  return matrix(images, width, mixtureRows(width, k));
}

/** Unit rows without any structure. */
export function unclustered(images: number, width: number): Float32Array<ArrayBuffer> {
  return matrix(images, width, (index, row) => row.set(direction(width, 'noise', index)));
}

/** Text prototypes: a direction that all names share and one of each, which for the first ones is that of a kind of images. */
export function vocabularyRows(names: number, width: number, kinds = 0): Float32Array<ArrayBuffer> {
  const common = direction(width, 'names');
  return matrix(names, width, (index, row) => {
    const own = index < kinds ? direction(width, 'kind', index) : direction(width, 'name', index);
    for (let d = 0; d < width; d++) row[d] = Math.sqrt(0.6) * common[d] + Math.sqrt(0.4) * own[d];
    unit(row);
  });
}
