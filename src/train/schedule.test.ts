import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cosineRate, emaDecay, planSteps } from './schedule.ts';

describe('the learning rate', () => {
  test('falls along a cosine from the peak, and reaches the floor only at the end', () => {
    // METHOD §3 for a batch of 128: 1e-5 to 5e-7; values of 5e-7 + 0.5·9.5e-6·(1 + cos(π·i/T)).
    const rates = [0, 7500, 15000, 22500, 29999, 30000].map(step => cosineRate(step, 30000, 1e-5, 5e-7));
    expect(rates).toBeAllclose([1e-5, 8.60875721e-6, 5.25e-6, 1.89124279e-6, 5.00000026e-7, 5e-7], {
      rtol: 1e-8,
      atol: 0,
    });
  });

  test('never rises', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), total => {
        const rates = Array.from({ length: total + 1 }, (_, i) => cosineRate(i, total, 3, 1));
        return rates.every((rate, i) => i === 0 || rate <= rates[i - 1]) && rates[0] === 3 && rates[total] === 1;
      }),
      { seed: 5 },
    );
  });
});

test("the teacher's decay rises linearly and stays", () => {
  const decays = [0, 500, 1000, 2000, 2001, 30000].map(step => emaDecay(step, 0.999, 0.9998, 2000));
  expect(decays).toBeAllclose([0.999, 0.9992, 0.9994, 0.9998, 0.9998, 0.9998], { rtol: 1e-12, atol: 0 });
  expect(emaDecay(0, 0.9, 0.99, 0)).toBe(0.99);
});

describe('the steps', () => {
  test('leave out the last partial batch and stop at the most an epoch has', () => {
    const plan = planSteps({ images: 1000, batchSize: 128, epochs: 30 });
    expect(plan).toEqual({ batch: 128, micro: 128, stepsPerEpoch: 7, totalSteps: 210, note: undefined });
    expect(planSteps({ images: 1_281_167, batchSize: 128, epochs: 30 })).toMatchObject({
      stepsPerEpoch: 1000,
      totalSteps: 30_000,
    });
  });

  test('shrink the batch, and say so, when there are fewer images', () => {
    const plan = planSteps({ images: 37, batchSize: 128, epochs: 2 });
    expect(plan).toMatchObject({ batch: 37, micro: 37, stepsPerEpoch: 1, totalSteps: 2 });
    expect(plan.note).toBe('the batch is 37 images instead of 128: there are 37 images');
    const one = planSteps({ images: 1, batchSize: 8, epochs: 1 });
    expect(one.note).toBe('the batch is 1 image instead of 8: there is 1 image');
  });

  test('are made of whole runs', () => {
    expect(planSteps({ images: 500, batchSize: 128, microBatch: 32, epochs: 1 })).toMatchObject({
      batch: 128,
      micro: 32,
      note: undefined,
    });
    const odd = planSteps({ images: 500, batchSize: 128, microBatch: 50, epochs: 1 });
    expect(odd).toMatchObject({ batch: 100, micro: 50, stepsPerEpoch: 5 });
    expect(odd.note).toBe('the batch is 100 images instead of 128: it is computed 50 images at a time');
    expect(planSteps({ images: 20, batchSize: 128, microBatch: 32, epochs: 1 })).toMatchObject({
      batch: 20,
      micro: 20,
    });
  });

  test('refuse counts that are none', () => {
    expect(() => planSteps({ images: 0, batchSize: 8, epochs: 1 })).toThrow('images is 0');
    expect(() => planSteps({ images: 9, batchSize: 1.5, epochs: 1 })).toThrow('batchSize is 1.5');
  });
});
