/** Greedy k-means++ over images that are shared out (Arthur and Vassilvitskii, 2007, with the trials of scikit-learn). */
import { all, joined, type Loaded, loadedRow, sum } from './loaded.ts';
import { type Located, PART } from './seeder.ts';

/**
 * Rows to start from: every further row is drawn 2 + ⌊ln k⌋ times with a chance proportional to the squared distance from
 * the nearest row before it, and the draw that lowers the potential most stays.
 * @param uniform a stream of numbers in [0, 1)
 * @returns [k] row indices
 */
export async function plusPlus(images: Loaded, k: number, uniform: () => number): Promise<Int32Array> {
  const trials = 2 + Math.floor(Math.log(k));
  const chosen = new Int32Array(k);
  chosen[0] = Math.floor(uniform() * images.count);
  await all(images.slices, slice => slice.ask<'seed'>({ kind: 'seed' }));
  let drawn: Located[] = [{ index: chosen[0], row: await loadedRow(images, chosen[0]) }];
  let parts = (await potentialsOf(images, drawn))[0];
  let kept = 0;
  for (let c = 1; c < k; c++) {
    const potential = sum(parts);
    const values = Array.from({ length: trials }, () => uniform() * potential);
    drawn = await locate(images, kept, parts, values);
    const tried = await potentialsOf(images, drawn);
    const potentials = tried.map(sum);
    kept = potentials.indexOf(Math.min(...potentials));
    chosen[c] = drawn[kept].index;
    parts = tried[kept];
  }
  return chosen;
}

/** Sums by parts of the squared distances that there would be with each row as a further centre. */
async function potentialsOf(
  { count, width, slices, norms }: Loaded,
  drawn: readonly Located[],
): Promise<Float64Array[]> {
  const rows = new Float32Array(drawn.length * width);
  drawn.forEach(({ row }, t) => {
    rows.set(row, t * width);
  });
  const answers = await all(slices, slice => {
    const places = Int32Array.from(drawn, ({ index }) => index - slice.start);
    const trial = { rows, norms: Float64Array.from(drawn, ({ index }) => norms[index]), places };
    return slice.ask<'try'>({ kind: 'try', trial });
  });
  return drawn.map((_, t) => {
    const parts = answers.map(answer => {
      const length = answer.length / drawn.length;
      return answer.subarray(t * length, (t + 1) * length);
    });
    return joined(parts, Math.ceil(count / PART));
  });
}

/** Makes trial `kept` a centre, and gives for every value the first image at which the sum of all distances reaches it. */
async function locate(
  { slices }: Loaded,
  kept: number,
  parts: Float64Array,
  values: readonly number[],
): Promise<Located[]> {
  const wanted = values.map(value => {
    let part = 0;
    let before = 0;
    while (part < parts.length - 1 && before + parts[part] < value) before += parts[part++];
    return { part, value: value - before };
  });
  const located: Located[] = [];
  await all(slices, async slice => {
    const [first, end] = [slice.start / PART, slice.end / PART];
    const mine = [...wanted.keys()].filter(w => wanted[w].part >= first && wanted[w].part < end);
    const asked = mine.map(w => ({ part: wanted[w].part - first, value: wanted[w].value }));
    const found = await slice.ask<'locate'>({ kind: 'locate', kept, wanted: asked });
    found.forEach(({ index, row }, i) => {
      located[mine[i]] = { index: slice.start + index, row };
    });
  });
  return located;
}
