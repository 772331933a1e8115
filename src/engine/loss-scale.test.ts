/** The loss scale against torch.amp.GradScaler with AdamW, over gradients of which some are not finite. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import * as e from './index.ts';

interface Golden {
  growth: number;
  backoff: number;
  interval: number;
  start: number;
  scales: number[];
  weights: number[][];
  gradients: (number | string)[][];
}

const path = new URL('../../test/goldens/engine/loss-scale.json', import.meta.url);

test('scales, skipped updates and weights are those of PyTorch', async () => {
  const { start, scales, weights, gradients, ...options } = JSON.parse(await readFile(path, 'utf8')) as Golden;
  expect(new Set(scales).size).toBeGreaterThan(5);
  const w = e.state('w', [3]);
  const slope = e.input('slope', 'float32', [3]);
  const scaler = e.lossScaling(options);
  const [dw] = e.gradient(scaler.scaled(e.sum(e.mul(w, slope))), [w]);
  const unscaled = scaler.unscaled({ w: dw });
  const next = e.adamW({ w }, unscaled, e.scalar(0.01), scaler.step, { weightDecay: 0 });
  const { updates, finite } = scaler.guarded(next, e.gradientNorm(unscaled));
  const session = await e.compile(e.program({ finite, ...updates }), { threads: 1 });
  try {
    await session.setState({ w: Float32Array.of(0.5, -1, 2), ...e.lossScaleStart(start) });
    for (const [i, gradient] of gradients.entries()) {
      const before = await session.getState();
      const given = gradient.map(value =>
        typeof value === 'string' ? Number(value.replace('inf', 'Infinity')) : value,
      );
      const { finite } = await session.run({ slope: Float32Array.from(given) });
      const after = await session.getState();
      expect(after['scaler.scale'][0], `scale after ${i}`).toBe(scales[i]);
      expect(Boolean(finite[0]), `update ${i}`).toBe(given.every(Number.isFinite));
      if (finite[0]) expect(after.w).not.toEqual(before.w);
      else
        expect({ ...after, 'scaler.scale': 0, 'scaler.row': 0 }).toEqual({
          ...before,
          'scaler.scale': 0,
          'scaler.row': 0,
        });
      // PyTorch keeps averages where we keep sums, so each update is rounded elsewhere.
      expect(after.w as Float32Array, `weights after ${i}`).toBeAllclose(weights[i], { rtol: 1e-6, atol: 1e-6 });
    }
  } finally {
    await session.dispose();
  }
});

test('a scale does not grow beyond the largest power of two', async () => {
  const w = e.state('w', [1]);
  const scaler = e.lossScaling({ interval: 1, prefix: 'mine' });
  const { updates } = scaler.guarded({ w: e.add(w, 1) }, e.sum(w));
  const session = await e.compile(e.program(updates), { threads: 1 });
  try {
    await session.setState(e.lossScaleStart(2 ** 126, 'mine'));
    for (const scale of [2 ** 127, 2 ** 127]) {
      await session.run({});
      expect((await session.getState(['mine.scale']))['mine.scale'][0]).toBe(scale);
    }
  } finally {
    await session.dispose();
  }
});
