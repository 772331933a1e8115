/** Text prototypes: the mean direction of a name in several templates (METHOD §1). */
import { S3aError } from '../errors.ts';
import type { OnProgress } from './encoders.ts';

/** OpenAI's subset of seven templates. */
export const TEMPLATES = [
  'itap of a {}.',
  'a bad photo of the {}.',
  'a origami {}.',
  'a photo of the large {}.',
  'a {} in a video game.',
  'art of the {}.',
  'a photo of the small {}.',
] as const;

/** Where parts of a table of prototypes are kept between runs. */
export interface PrototypeStore {
  /** The rows of a part, [count, D]; undefined when they are not there or cannot be trusted. Never throws. */
  read(part: number, count: number): Promise<Float32Array | undefined>;
  /** Keeps the rows of a part if it can. Never throws. */
  write(part: number, rows: Float32Array): Promise<void>;
}

/** Names of a part: what a run that is killed has to compute again is at most one. */
export const PART = 1024;

/**
 * h_w = normalise(mean over templates of normalise(text(template(w)))), one unit row a name.
 * @param names V names
 * @param templates each with one `{}`
 * @param embed gives unit embeddings [N, D] of N texts; it is called once for every 1,024 names, with all their texts
 * @param store keeps parts between runs
 * @returns [V, D]
 * @throws S3aError TEMPLATE when there is no template, or one without `{}`
 */
export async function prototypes(
  names: readonly string[],
  templates: readonly string[],
  embed: (texts: readonly string[], onProgress?: OnProgress) => Promise<Float32Array>,
  onProgress?: OnProgress,
  store?: PrototypeStore,
): Promise<Float32Array> {
  if (templates.length === 0) throw new S3aError('TEMPLATE', 'there is no template');
  const bare = templates.find(template => !template.includes('{}'));
  if (bare !== undefined) throw new S3aError('TEMPLATE', `the template '${bare}' has no {} for the name`);
  const total = names.length * templates.length;
  let out = new Float32Array(0);
  for (let start = 0; start < names.length; start += PART) {
    const part = names.slice(start, start + PART);
    let rows = await store?.read(start / PART, part.length);
    if (!rows) {
      // A function, because `$` in a name has a meaning in a replacement text.
      const texts = templates.flatMap(template => part.map(name => template.replaceAll('{}', () => name)));
      const embedded = await embed(texts, done => onProgress?.(start * templates.length + done, total));
      rows = meanDirections(embedded, part.length, templates.length);
      await store?.write(start / PART, rows);
    }
    const width = rows.length / part.length;
    if (start === 0) out = new Float32Array(names.length * width);
    out.set(rows, start * width);
    onProgress?.((start + part.length) * templates.length, total);
  }
  return out;
}

/** Unit means over the first axis of [times, count, D]. */
function meanDirections(rows: Float32Array, count: number, times: number): Float32Array {
  const width = rows.length / (count * times);
  const out = new Float32Array(count * width);
  const sum = new Float64Array(width);
  for (let row = 0; row < count; row++) {
    sum.fill(0);
    for (let t = 0; t < times; t++) {
      const start = (t * count + row) * width;
      for (let i = 0; i < width; i++) sum[i] += rows[start + i];
    }
    let squares = 0;
    for (const value of sum) squares += value * value;
    const length = Math.sqrt(squares);
    for (let i = 0; i < width; i++) out[row * width + i] = sum[i] / length;
  }
  return out;
}
