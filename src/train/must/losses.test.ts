/** The losses by hand: what the goldens of the whole step do not reach. */
import { expect, it } from 'vitest';
import { compile, gradient, input, program, sum, type Tensor } from '../../engine/index.ts';
import { alignmentLoss, fairnessLoss, instanceLoss, reconstructionLoss } from './losses.ts';

/** Values of scalar or vector outputs for the given inputs. */
async function valuesOf(outputs: Record<string, Tensor>, feeds: Record<string, Float32Array | Int32Array>) {
  const session = await compile(program(outputs), { threads: 1 });
  try {
    const found = await session.run(feeds);
    return Object.fromEntries(Object.entries(found).map(([name, data]) => [name, [...(data as Float32Array)]]));
  } finally {
    await session.dispose();
  }
}

const x = input('x', 'float32', [2, 3]);
const present = input('present', 'float32', [2]);

it('fairness is least, log V, for predictions that are even over the batch', async () => {
  const loss = (p: number[], here = [1, 1]) =>
    valuesOf(fairnessLoss(x, present), { x: Float32Array.from(p, Math.log), present: Float32Array.from(here) });
  const even = await loss([0.5, 0.25, 0.25, 1 / 6, 5 / 12, 5 / 12]);
  expect(even.loss[0]).toBeCloseTo(Math.log(3), 5);
  const uneven = await loss([0.8, 0.1, 0.1, 0.6, 0.3, 0.1]);
  expect(uneven.loss[0]).toBeCloseTo(-(Math.log(0.7) + Math.log(0.2) + Math.log(0.1)) / 3, 5);
  // A row without an image does not count.
  const alone = await loss([0.8, 0.1, 0.1, 0.6, 0.3, 0.1], [1, 0]);
  expect(alone.loss[0]).toBeCloseTo(-(Math.log(0.8) + 2 * Math.log(0.1)) / 3, 5);
});

it('fairness of names that no image is near is finite, and so is its gradient', async () => {
  const { loss } = fairnessLoss(x, present);
  const logs = Float32Array.of(0, -200, -300, 0, -250, -190);
  const found = await valuesOf({ loss, slope: gradient(loss, [x])[0] }, { x: logs, present: Float32Array.of(1, 1) });
  // exp(−190) is 0 in float32; the mean of e⁻²⁰⁰ and e⁻²⁵⁰ is e⁻²⁰⁰ / 2.
  expect(found.loss[0]).toBeCloseTo((200 + 190 + 2 * Math.log(2)) / 3, 3);
  expect(found.slope).toBeAllclose([-1 / 6, -1 / 3, 0, -1 / 6, 0, -1 / 3], { rtol: 1e-5, atol: 1e-7 });
});

it('the moving average begins with the batch and then takes half of it', async () => {
  const before = input('before', 'float32', [3]);
  const begins = input('begins', 'float32', []);
  const { loss, average } = fairnessLoss(x, present, { before, begins });
  const feeds = {
    x: Float32Array.from([0.8, 0.1, 0.1, 0.6, 0.3, 0.1], Math.log),
    present: Float32Array.of(1, 1),
    before: Float32Array.from([0.1, 0.4, 0.5], Math.log),
  };
  const outputs = { loss, average, slope: gradient(loss, [x])[0] };
  const first = await valuesOf(outputs, { ...feeds, begins: Float32Array.of(1) });
  expect(first.average).toBeAllclose([0.7, 0.2, 0.1].map(Math.log), { rtol: 1e-5, atol: 1e-6 });
  expect(first.loss[0]).toBeCloseTo((-2 * (Math.log(0.7) + Math.log(0.2) + Math.log(0.1))) / 3, 5);
  const later = await valuesOf(outputs, { ...feeds, begins: Float32Array.of(0) });
  expect(later.average).toBeAllclose([0.4, 0.3, 0.3].map(Math.log), { rtol: 1e-5, atol: 1e-6 });
  // d/dlog p = −2/3 · (p / 4) / p̄: half the batch's mean over two images.
  const slope = [0.8 / 0.4, 0.1 / 0.3, 0.1 / 0.3, 0.6 / 0.4, 0.3 / 0.3, 0.1 / 0.3].map(q => (-2 / 3) * (q / 4));
  expect(later.slope).toBeAllclose(slope, { rtol: 1e-5, atol: 1e-7 });
});

it('a batch without a sure teacher costs nothing', async () => {
  const labels = input('labels', 'int32', [2]);
  const loss = instanceLoss(x, labels, present);
  const feeds = { x: Float32Array.of(-1, -2, -3, -4, -5, -6), labels: Int32Array.of(2, 0) };
  const cost = async (...sure: number[]) =>
    (await valuesOf({ loss }, { ...feeds, present: Float32Array.from(sure) })).loss;
  expect(await cost(0, 0)).toEqual([0]);
  expect(await cost(1, 0)).toEqual([3]);
  expect(await cost(1, 1)).toEqual([3.5]);
});

it('reconstruction and alignment are of hidden patches alone', async () => {
  const local = input('local', 'float32', [1, 2, 3]);
  const other = input('other', 'float32', [1, 2, 3]);
  const image = input('image', 'float32', [1, 3]);
  const hidden = input('hidden', 'float32', [1, 2]);
  const feeds = {
    local: Float32Array.of(1, 2, 3, 4, 5, 6),
    other: Float32Array.of(0, 0, 0, 4, 4, 9),
    image: Float32Array.of(3, 4, 4),
    hidden: Float32Array.of(0, 1),
  };
  const reconstruction = reconstructionLoss(local, other, hidden);
  const alignment = alignmentLoss(local, image, hidden);
  const toImage = gradient(sum(alignment), [image])[0];
  const found = await valuesOf({ reconstruction, alignment, toImage }, feeds);
  expect(found.reconstruction[0]).toBeCloseTo((0 + 1 + 3) / 3, 6);
  expect(found.alignment[0]).toBeCloseTo(1 + 1 + 4, 6);
  expect(found.toImage).toEqual([-2, -2, -4]);
});
