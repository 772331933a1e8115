/** What every tracker must do, whatever stands behind it; each implementation's test runs these cases. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Tracker } from '../src/track/tracker.ts';

/** What has arrived at the place that a tracker writes to. */
export interface Tracked {
  /** In the order of their arrival. */
  scalars: { step: number; name: string; value: number }[];
  params: Record<string, string>;
  texts: Record<string, string>;
}

/** A tracker with its place. */
export interface TrackerUnderTest {
  readonly tracker: Tracker;
  /** What the tracker has warned of. */
  readonly warnings: readonly string[];
  /** Another tracker to the same place, as a training makes it that goes on. */
  again(): Tracker;
  /** Reads the place, which must be well formed. */
  read(): Promise<Tracked>;
  /** From now on the place takes nothing more. */
  breakPlace(): Promise<void>;
  dispose(): Promise<void>;
}

/** Runs the shared cases; `places` says how many digits of a value arrive. */
export function trackerCases(name: string, open: () => Promise<TrackerUnderTest>, digits: number): void {
  describe(`${name} as a tracker`, () => {
    let at: TrackerUnderTest;
    beforeEach(async () => {
      at = await open();
    });
    afterEach(async () => {
      await at.tracker.close();
      await at.dispose();
    });

    it('takes figures in their order, with their steps', async () => {
      at.tracker.log(1, { loss: 2.5, lr: 1.25e-7 });
      at.tracker.log(2, { loss: 0 });
      at.tracker.log(2 ** 40, { loss: -3e-5 });
      await at.tracker.close();
      const { scalars } = await at.read();
      expect(scalars.map(({ step, name: its }) => [step, its])).toEqual([
        [1, 'loss'],
        [1, 'lr'],
        [2, 'loss'],
        [2 ** 40, 'loss'],
      ]);
      const rtol = 10 ** -digits;
      expect(scalars.map(({ value }) => value)).toBeAllclose([2.5, 1.25e-7, 0, -3e-5], { rtol, atol: 0 });
      expect(at.warnings).toEqual([]);
    });

    it('takes many figures at once', async () => {
      for (let step = 0; step < 3000; step++) at.tracker.log(step, { a: step, b: -step });
      await at.tracker.close();
      const { scalars } = await at.read();
      expect(scalars.length).toBe(6000);
      expect(scalars.filter(({ name: its }) => its === 'b').map(({ value }) => value)).toEqual(
        Array.from({ length: 3000 }, (_, step) => (step === 0 ? expect.closeTo(0) : -step)),
      );
    });

    it('takes settings and texts', async () => {
      at.tracker.hparams({ model: 'demo', k: 12, templates: ['a {}', 'b | c'], lr: null, gone: undefined, ok: true });
      at.tracker.text('note', 'Größe\n“quoted” 狗');
      at.tracker.log(1, { loss: 1 });
      await at.tracker.close();
      const { params, texts } = await at.read();
      expect(params).toEqual({ model: 'demo', k: '12', templates: '["a {}","b | c"]', ok: 'true' });
      expect(texts).toEqual({ note: 'Größe\n“quoted” 狗' });
    });

    it('takes settings without a figure', async () => {
      at.tracker.hparams({ k: 3 });
      await at.tracker.close();
      expect(await at.read()).toEqual({ scalars: [], params: { k: '3' }, texts: {} });
    });

    it('leaves out what is not finite, and refuses steps that are none', async () => {
      at.tracker.log(5, { loss: Number.NaN, norm: Number.POSITIVE_INFINITY, ok: 4 });
      for (const step of [-1, 0.5, Number.NaN, 2 ** 60]) {
        expect(() => at.tracker.log(step, { loss: 1 })).toThrow(expect.objectContaining({ code: 'VALUE' }));
      }
      await at.tracker.close();
      expect((await at.read()).scalars).toEqual([{ step: 5, name: 'ok', value: 4 }]);
    });

    it('leaves the values as they are', async () => {
      const values = Object.freeze({ loss: 1 });
      at.tracker.log(1, values);
      at.tracker.hparams(Object.freeze({ k: Object.freeze([1]) }));
      expect(values).toEqual({ loss: 1 });
    });

    it('ends once, and takes nothing after that', async () => {
      at.tracker.log(1, { loss: 1 });
      await Promise.all([at.tracker.close('finished'), at.tracker.close('failed')]);
      const before = await at.read();
      at.tracker.log(2, { loss: 2 });
      at.tracker.text('late', 'x');
      at.tracker.hparams({ late: 1 });
      await at.tracker.close();
      expect(await at.read()).toEqual(before);
      expect(before.scalars.length).toBe(1);
      expect(at.warnings).toEqual([]);
    });

    it('writes nothing when nothing was said', async () => {
      await at.tracker.close();
      expect(await at.read()).toEqual({ scalars: [], params: {}, texts: {} });
      expect(at.warnings).toEqual([]);
    });

    it('warns once when its place is gone, and never throws', async () => {
      at.tracker.log(1, { loss: 1 });
      await at.breakPlace();
      for (let step = 2; step < 2000; step++) at.tracker.log(step, { loss: 1 });
      at.tracker.text('note', 'x');
      at.tracker.hparams({ k: 1 });
      await at.tracker.close('failed');
      const broken = at.again();
      broken.log(2000, { loss: 1 });
      await broken.close();
      // One of each tracker at most; what was taken before may be enough for the first.
      expect(at.warnings.length).toBeGreaterThanOrEqual(1);
      expect(at.warnings.length).toBeLessThanOrEqual(2);
      for (const warning of at.warnings) expect(warning).toMatch(/^[^\r\n]+$/);
    });
  });
}
