/** The verdict on a silhouette curve: on curves made by hand, and on features with and without clusters. */
import { describe, expect, test } from 'vitest';
import { random } from '../random.ts';
import { estimateK } from './estimate-k.ts';
import { type Judged, verdictOf } from './silhouette-verdict.ts';

/** Silhouettes of 400 images about a value; what an image deviates is in part the same for every k. */
function judged(k: number, silhouette: number, noise: number): Judged {
  const [shared, own] = [random(1, 'image'), random(1, 'image at', k)];
  const samples = Float64Array.from({ length: 400 }, () => silhouette + 0.2 * shared.normal() + noise * own.normal());
  return { k, silhouette: samples.reduce((a, b) => a + b) / 400, samples };
}

describe('curves', () => {
  const ks = [10, 20, 30, 40, 50, 51, 52, 53, 54, 55, 56, 60, 70, 80];

  test('a peak that the same images confirm is one, though it is small beside their spread', () => {
    const verdict = verdictOf(
      ks.map(k => judged(k, 0.1 - Math.abs(k - 53) * 1e-3, 0.02)),
      53,
    );
    expect(verdict).toMatchObject({ flat: false, edge: false });
    expect(verdict.rise).toBeGreaterThan(0.02);
    // 0.02·√2 / √400, and about as much roughness.
    expect(verdict.error).toBeGreaterThan(0.001);
    expect(verdict.error).toBeLessThan(0.004);
  });

  test.each([1, 2, 3])('the largest of a level curve is none (%i)', seed => {
    const points = ks.map(k => ({ ...judged(1000 * seed + k, 0.1, 0.02), k }));
    const peak = points.reduce((a, b) => (b.silhouette > a.silhouette ? b : a));
    expect(verdictOf(points, peak.k).flat).toBe(true);
  });

  test('a curve that only rises has no peak, however steep', () => {
    const points = ks.map(k => judged(k, k / 100, 0.01));
    expect(verdictOf(points, 80)).toMatchObject({ flat: true, edge: true, rise: 0 });
  });
});

describe('features', () => {
  const [n, width] = [1200, 24];
  const rows = (clusters: number, spread: number, seed: number): Float32Array => {
    const draw = random(seed, 'verdict', clusters);
    const centres = Array.from({ length: clusters }, () => Array.from({ length: width }, () => draw.normal()));
    const all = Array.from({ length: n }, (_, i) => {
      // Some directions vary more than others, as they do in features of images.
      const row = Array.from({ length: width }, (_, d) => {
        const centre = clusters === 0 ? 0 : centres[i % clusters][d];
        return centre + (spread * draw.normal()) / (1 + d / 8);
      });
      const length = Math.hypot(...row);
      return row.map(value => value / length);
    });
    return Float32Array.from(all.flat());
  };
  const options = { width, low: 3, high: 80, nInit: 2, judged: 600 };

  test.each([1, 2])('with clusters the estimate stands out (%i)', async seed => {
    const { k, verdict } = await estimateK(rows(17, 0.6, seed), { ...options, seed });
    expect(k).toBe(17);
    expect(verdict).toMatchObject({ flat: false, edge: false });
  });

  test.each([1, 2, 3])('without any it does not (%i)', async seed => {
    const { curve, verdict } = await estimateK(rows(0, 1, seed), { ...options, seed });
    expect(curve.length).toBeGreaterThan(5);
    expect(verdict.flat).toBe(true);
  });
});
