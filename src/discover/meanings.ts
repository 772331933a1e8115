/** Per-synset prototypes: a name with several meanings has a row for each, and its score is that of its best meaning. */
import { S3aError } from '../errors.ts';
import type { Nearest } from './nearest.ts';
import type { EncodeTexts } from './realign.ts';
import { rowCount } from './row-pass.ts';

/** Rows of all meanings, those of one name together. */
export interface Meanings {
  /** [S, D] unit rows. */
  readonly prototypes: Float32Array;
  /** [V + 1] where the rows of each name begin. */
  readonly begins: Int32Array;
}

export interface MeaningOptions {
  /** Embedding width D. */
  width: number;
  encodeTexts: EncodeTexts;
  /** Weight of the gloss's feature beside the name's; default 0.5. */
  weight?: number;
  /** Text of a meaning, with `{name}` and `{gloss}` in it. */
  format?: string;
}

const TEXTS_A_CALL = 1024;

/**
 * normalise(h_w + weight · text(name, gloss)) for every gloss of every name; a name without a gloss keeps h_w.
 * @param names with their glosses
 * @param prototypes [V, width] unit rows h_w
 * @throws S3aError SHAPE when sizes do not fit.
 */
export async function meaningPrototypes(
  names: readonly { readonly name: string; readonly glosses: readonly string[] }[],
  prototypes: Float32Array,
  { width, encodeTexts, weight = 0.5, format = 'a photo of a {name}, {gloss}.' }: MeaningOptions,
): Promise<Meanings> {
  if (rowCount(prototypes, width, 'prototypes') !== names.length) {
    throw new S3aError('SHAPE', `meanings: ${prototypes.length / width} prototypes for ${names.length} names`);
  }
  const begins = new Int32Array(names.length + 1);
  names.forEach(({ glosses }, w) => {
    begins[w + 1] = begins[w] + Math.max(1, glosses.length);
  });
  const rows = new Float32Array(begins[names.length] * width);
  const open: { row: number; text: string }[] = [];
  names.forEach(({ name, glosses }, w) => {
    for (let row = begins[w]; row < begins[w + 1]; row++) {
      rows.set(prototypes.subarray(w * width, (w + 1) * width), row * width);
    }
    glosses.forEach((gloss, g) => {
      const text = format.replace(/\{(name|gloss)\}/g, (_, key) => (key === 'name' ? name : gloss));
      open.push({ row: begins[w] + g, text });
    });
  });
  for (let start = 0; start < open.length; start += TEXTS_A_CALL) {
    const part = open.slice(start, start + TEXTS_A_CALL);
    const encoded = await encodeTexts(part.map(({ text }) => text));
    part.forEach(({ row }, p) => {
      add(rows.subarray(row * width, (row + 1) * width), encoded.subarray(p * width, (p + 1) * width), weight);
    });
  }
  return { prototypes: rows, begins };
}

/** Adds the direction of `other`, `weight` long, to a unit row, and makes it a unit row again. */
function add(row: Float32Array, other: Float32Array, weight: number): void {
  const length = Math.hypot(...other);
  for (let d = 0; d < row.length; d++) row[d] += (weight * other[d]) / length;
  const norm = Math.hypot(...row);
  for (let d = 0; d < row.length; d++) row[d] /= norm;
}

/** The nearest meanings as their names, each once with its best score; −1 fills up where there are fewer than `top`. */
export function namesOfMeanings(nearest: Nearest, begins: Int32Array, top: number): Nearest {
  const owner = new Int32Array(begins[begins.length - 1]);
  for (let w = 0; w + 1 < begins.length; w++) owner.fill(w, begins[w], begins[w + 1]);
  const images = nearest.indices.length / nearest.top;
  const indices = new Int32Array(images * top).fill(-1);
  const scores = new Float32Array(images * top).fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < images; i++) {
    let [at, from] = [i * top, i * nearest.top];
    for (; at < (i + 1) * top && from < (i + 1) * nearest.top; from++) {
      const name = owner[nearest.indices[from]];
      if (indices.subarray(i * top, at).includes(name)) continue;
      indices[at] = name;
      scores[at++] = nearest.scores[from];
    }
  }
  return { top, indices, scores };
}
