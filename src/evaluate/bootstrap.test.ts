/** Intervals against scipy: with its own resamples, and where the answer is known. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { random } from '../random.ts';
import { binomial } from './binomial.ts';
import { bootstrapCounts, bootstrapMean, bootstrapShare, intervalOf, spreadOverSeeds } from './bootstrap.ts';
import { normalCdf, normalQuantile, studentTwoSided } from './distributions.ts';
import { evaluate } from './evaluate.ts';
import { reportIntervals } from './intervals.ts';
import { compareNames } from './names.ts';
import { classReports } from './per-class.ts';

interface Golden {
  bootstrap: {
    name: string;
    values: number[];
    distribution: number[];
    standardError: number;
    percentile: number[];
    bca: number[];
  }[];
  normal: { x: number[]; cdf: number[]; p: number[]; quantile: number[] };
  student: { degrees: number; t: number[] }[];
  levels: number[];
  spread: { values: number[]; mean: number; sd: number; low: number; high: number };
  wilson: Record<string, number[]>;
  binomial: { trials: number; p: number; at: number[]; cdf: number[] }[];
  perClass: {
    truth: number[];
    given: number[];
    balanced: number;
    precision: number[];
    recall: number[];
    f1: number[];
    macroF1: number;
  };
  sets: { found: number[]; true: number[]; precision: number; recall: number; f1: number }[];
}

const golden = JSON.parse(readFileSync(new URL('../../test/goldens/metrics.json', import.meta.url), 'utf8')) as Golden;

describe('distributions against scipy', () => {
  test('normal', () => {
    const { x, cdf, p, quantile } = golden.normal;
    expect(x.map(normalCdf)).toBeAllclose(cdf, { rtol: 1e-11, atol: 0 });
    expect(p.map(normalQuantile)).toBeAllclose(quantile, { rtol: 1e-11, atol: 1e-13 });
    expect([0, 1, -1, Number.NaN].map(normalQuantile)).toEqual([-Infinity, Infinity, Number.NaN, Number.NaN]);
  });

  test('Student', () => {
    for (const { degrees, t } of golden.student) {
      expect(golden.levels.map(level => studentTwoSided(level, degrees))).toBeAllclose(t, { rtol: 1e-10, atol: 0 });
    }
    expect(() => studentTwoSided(0.95, 0)).toThrow('0 is no number of degrees of freedom');
    expect(() => studentTwoSided(1, 3)).toThrow('the level 1');
  });

  test.each(golden.binomial)('binomial: $trials trials of $p', ({ trials, p, at, cdf }) => {
    const generator = random(0, 'binomial-test', trials);
    const draws = Float64Array.from({ length: 20_000 }, () => binomial(trials, p, generator));
    // Four and a half standard deviations of a share of 20,000 at its widest.
    const shares = at.map(x => draws.filter(draw => draw <= x).length / draws.length);
    expect(shares).toBeAllclose(cdf, { rtol: 0, atol: 0.016 });
    expect(draws.every(draw => Number.isInteger(draw) && draw >= 0 && draw <= trials)).toBe(true);
  });
});

test.each(golden.bootstrap)('scipy.stats.bootstrap with the same resamples: $name', sample => {
  const { values, distribution, standardError, percentile, bca } = sample;
  const sum = values.reduce((a, b) => a + b, 0);
  const left = values.map(value => ({ value: (sum - value) / (values.length - 1), weight: 1 }));
  for (const [method, expected] of [
    ['percentile', percentile],
    ['bca', bca],
  ] as const) {
    const found = intervalOf(Float64Array.from(distribution), sum / values.length, left, { level: 0.9, method });
    // The order of additions differs.
    expect([found.low, found.high]).toBeAllclose(expected, { rtol: 1e-10, atol: 0 });
    expect(found.standardError).toBeCloseTo(standardError, 12);
    expect(found.method).toBe(method);
  }
});

describe('own resamples', () => {
  test('many resamples come close to what few of scipy say', () => {
    for (const { values, bca, standardError } of golden.bootstrap) {
      const found = bootstrapMean(values, { level: 0.9 });
      // 399 resamples leave the ends of a 90 % interval uncertain by about a tenth of its width.
      const width = bca[1] - bca[0];
      expect([found.low, found.high]).toBeAllclose(bca, { rtol: 0, atol: 0.15 * width });
      expect(found.standardError / standardError).toBeGreaterThan(0.85);
      expect(found.standardError / standardError).toBeLessThan(1.15);
    }
  });

  test('50,000 images: the normal approximation of a share', () => {
    const { low, high, standardError, estimate, method } = bootstrapShare(21_200, 50_000);
    const sd = Math.sqrt((estimate * (1 - estimate)) / 50_000);
    expect(method).toBe('bca');
    expect(standardError / sd).toBeGreaterThan(0.97);
    expect(standardError / sd).toBeLessThan(1.03);
    expect([low, high]).toBeAllclose([estimate - 1.96 * sd, estimate + 1.96 * sd], { rtol: 0, atol: 0.1 * sd });
  });

  test('cells and single images give the same interval, up to chance', () => {
    const counts = [30, 10, 5, 55];
    const values = [0.1, 0.9, 0.4, 0.7];
    const mean = (cells: Float64Array): number => cells.reduce((sum, count, i) => sum + count * values[i], 0) / 100;
    const byCells = bootstrapCounts(counts, mean);
    // Slightly different values are cells of their own, so that each image is drawn by itself.
    const spread = counts.flatMap((count, i) => Array.from({ length: count }, (_, j) => values[i] + j * 1e-9));
    const byImages = bootstrapMean(spread);
    expect([byImages.low, byImages.high]).toBeAllclose([byCells.low, byCells.high], { rtol: 0, atol: 0.005 });
    expect(byImages.standardError).toBeCloseTo(byCells.standardError, 3);
  });

  test('the seed decides', () => {
    const at = (seed: number): unknown => bootstrapMean(golden.bootstrap[1].values, { seed, resamples: 200 });
    expect(at(3)).toEqual(at(3));
    expect(at(3)).not.toEqual(at(4));
  });

  test('all right, none right, one image, all alike', () => {
    for (const [n, [low, high]] of Object.entries(golden.wilson)) {
      const all = bootstrapShare(Number(n), Number(n));
      expect([all.low, all.high]).toBeAllclose([low, high], { rtol: 1e-10, atol: 0 });
      const none = bootstrapShare(0, Number(n));
      expect([none.low, none.high]).toBeAllclose([1 - high, 1 - low], { rtol: 1e-9, atol: 1e-12 });
      expect(none).toMatchObject({ estimate: 0, method: 'wilson' });
    }
    expect(bootstrapMean([2, 2, 2])).toMatchObject({ estimate: 2, low: 2, high: 2, method: 'percentile' });
    expect(bootstrapMean([0.4])).toMatchObject({ low: 0.4, high: 0.4, method: 'percentile' });
  });

  test('what cannot be meant is one clear line', () => {
    expect(() => bootstrapShare(0, 0)).toThrow('there are no images');
    expect(() => bootstrapShare(3, 2)).toThrow('-1 is no number of images');
    expect(() => bootstrapMean([])).toThrow('there are no images');
    expect(() => bootstrapMean([1, Number.NaN])).toThrow('the value NaN of image 1');
    expect(() => bootstrapShare(1, 2, { resamples: 1 })).toThrow('1 resamples');
    expect(() => bootstrapShare(2, 2, { level: 95 })).toThrow('the level 95');
  });
});

describe('spread over seeds', () => {
  test('against scipy', () => {
    const { values, mean, sd, low, high } = golden.spread;
    const found = spreadOverSeeds(values);
    expect([found.mean, found.sd!, found.low!, found.high!]).toBeAllclose([mean, sd, low, high], { rtol: 1e-11 });
  });

  test('one run has no spread, none is an error', () => {
    expect(spreadOverSeeds([0.5])).toEqual({ runs: 1, mean: 0.5, sd: undefined, low: undefined, high: undefined });
    expect(() => spreadOverSeeds([])).toThrow('there are no runs');
    expect(() => spreadOverSeeds([0.5, Number.NaN])).toThrow('the figure NaN');
  });
});

describe('classes and names against scikit-learn', () => {
  const close = { rtol: 1e-13, atol: 1e-15 };

  test('each class and their means', () => {
    const { truth, given, balanced, precision, recall, f1, macroF1 } = golden.perClass;
    const classes = classReports(given.map(String), truth.map(String));
    expect(classes.map(report => report.precision)).toBeAllclose(precision, close);
    expect(classes.map(report => report.recall)).toBeAllclose(recall, close);
    expect(classes.map(report => report.f1)).toBeAllclose(f1, close);
    const report = evaluate({ names: given.map(String) }, truth.map(String));
    expect([report.classAccuracy, report.macroF1]).toBeAllclose([balanced, macroF1], close);
  });

  test('sets of names', () => {
    for (const { found, true: wanted, precision, recall, f1 } of golden.sets) {
      const report = compareNames(found.map(String), wanted.map(String));
      expect([report.precision, report.recall, report.f1]).toBeAllclose([precision, recall, f1], close);
    }
  });
});

/** Of pairs of right and wrong. */
function meanOfShares(counts: Float64Array): number {
  const shares = Array.from(
    { length: counts.length / 2 },
    (_, i) => counts[2 * i] / (counts[2 * i] + counts[2 * i + 1]),
  );
  const there = shares.filter(share => !Number.isNaN(share));
  return there.reduce((sum, share) => sum + share, 0) / there.length;
}

test('the intervals of a report are about its own figures', () => {
  const { truth, given } = golden.perClass;
  const ranked = given.map((name, i) => [String(name), 'x', String(truth[(i * 7) % 120])]);
  const report = evaluate({ names: given.map(String), ranked, clusters: given }, truth.map(String));
  const intervals = reportIntervals(report, { resamples: 500 });
  expect(Object.keys(intervals.accuracy)).toEqual(['1', '3']);
  for (const [estimate, interval] of [
    [report.accuracy[1], intervals.accuracy[1]],
    [report.accuracy[3], intervals.accuracy[3]],
    [report.classAccuracy, intervals.classAccuracy],
    [report.clustering.accuracy, intervals.clustering],
    [report.clusters!.accuracy, intervals.clusters!],
  ] as const) {
    expect(interval.estimate).toBeCloseTo(estimate, 12);
    expect(interval.low).toBeLessThan(estimate);
    expect(interval.high).toBeGreaterThan(estimate);
    // 120 images: a standard error of about 0.045.
    expect(interval.high - interval.low).toBeGreaterThan(0.1);
    expect(interval.high - interval.low).toBeLessThan(0.25);
  }
  // What the jackknife of the classes' mean is, taken again and again.
  const cells = report.perClass.flatMap(({ images, correct }) => [correct, images - correct]);
  const again = bootstrapCounts(cells, meanOfShares, { resamples: 500 });
  const { low, high, standardError } = intervals.classAccuracy;
  expect([low, high, standardError]).toBeAllclose([again.low, again.high, again.standardError], { rtol: 1e-9 });
  // A class of one image, and a class that many resamples lack.
  const small = evaluate({ names: ['a', 'b', 'b'] }, ['a', 'b', 'a']);
  const ofSmall = reportIntervals(small, { resamples: 100 }).classAccuracy;
  expect(ofSmall).toEqual(bootstrapCounts([1, 1, 1, 0], meanOfShares, { resamples: 100 }));
  expect(ofSmall.estimate).toBe(0.75);
  expect(reportIntervals(evaluate({ names: ['a'] }, ['b']), { resamples: 9 }).classAccuracy).toMatchObject({ high: 0 });
});

test('evaluate carries intervals where they are asked for, of the semantic score too', () => {
  const { truth, given } = golden.perClass;
  const names = given.map(name => (name === 3 ? '' : String(name)));
  const semantic = given.map((name, i) => 1 / (1 + Math.abs(name - truth[i])));
  const bootstrap = { samples: 300, seed: 4 };
  const report = evaluate({ names, semantic }, truth.map(String), { bootstrap });
  expect(report.named).toBe(given.filter(name => name !== 3).length);
  const { semantic: score, ...others } = report.intervals!;
  expect(others).toEqual(reportIntervals(report, { resamples: 300, seed: 4 }));
  expect(score).toEqual(bootstrapMean(semantic, { resamples: 300, seed: 4 }));
  expect(report.semantic).toBeCloseTo(score!.estimate, 12);
  expect(evaluate({ names }, truth.map(String))).not.toHaveProperty('intervals');
  expect(() => evaluate({ names, semantic: [1] }, truth.map(String))).toThrow('1 semantic scores for 120 true names');
  expect(() => evaluate({ names }, truth.map(String), { bootstrap: { samples: 0 } })).toThrow('0 resamples');
});
