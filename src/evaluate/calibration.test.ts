/** Calibration against scikit-learn. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { calibration } from './calibration.ts';

interface Golden {
  calibration: {
    confidences: number[];
    right: number[];
    brier: number;
    curves: {
      bins: number;
      strategy: 'uniform' | 'quantile';
      accuracy: number[];
      confidence: number[];
      ece: number;
      mce: number;
    }[];
  };
}

const golden = JSON.parse(readFileSync(new URL('../../test/goldens/metrics.json', import.meta.url), 'utf8')) as Golden;
const { confidences, right, brier, curves } = golden.calibration;
// The same double arithmetic, added in another order.
const close = { rtol: 1e-12, atol: 1e-12 };

describe('against scikit-learn', () => {
  test.each(curves)('$bins bins, $strategy', ({ bins, strategy, accuracy, confidence, ece, mce }) => {
    const report = calibration(confidences, right, { bins, strategy: strategy === 'uniform' ? 'width' : 'mass' });
    const filled = report.bins.filter(({ images }) => images > 0);
    expect(filled.map(bin => bin.accuracy)).toBeAllclose(accuracy, close);
    expect(filled.map(bin => bin.confidence)).toBeAllclose(confidence, close);
    expect([report.ece, report.mce, report.brier]).toBeAllclose([ece, mce, brier], close);
    expect(report.bins).toHaveLength(bins);
  });
});

test('by hand: two bins, ends in the lower one, booleans', () => {
  const report = calibration([0, 0.5, 0.6, 1], [false, true, true, false], { bins: 2 });
  expect(report.bins).toEqual([
    { low: 0, high: 0.5, images: 2, confidence: 0.25, accuracy: 0.5 },
    { low: 0.5, high: 1, images: 2, confidence: 0.8, accuracy: 0.5 },
  ]);
  expect([report.ece, report.mce, report.confidence, report.accuracy]).toBeAllclose([0.275, 0.3, 0.525, 0.5], close);
});

test('one image, all alike, and empty bins', () => {
  expect(calibration([1], [1])).toMatchObject({ ece: 0, mce: 0, brier: 0, accuracy: 1 });
  const alike = calibration([0.7, 0.7, 0.7, 0.7], [1, 1, 1, 0], { bins: 3, strategy: 'mass' });
  expect(alike.ece).toBeCloseTo(0.05, 12);
  expect(alike.bins.map(({ images }) => images)).toEqual([4, 0, 0]);
  expect(alike.bins[1].accuracy).toBeNaN();
});

test('what cannot be meant is one clear line', () => {
  expect(() => calibration([], [])).toThrow('there are no images');
  expect(() => calibration([0.5], [])).toThrow('1 confidences for 0 images');
  expect(() => calibration([0.5, 1.5], [1, 1])).toThrow('the confidence 1.5 of image 1');
  expect(() => calibration([Number.NaN], [1])).toThrow('the confidence NaN of image 0');
  expect(() => calibration([0.5], [1], { bins: 0 })).toThrow('0 bins');
});
