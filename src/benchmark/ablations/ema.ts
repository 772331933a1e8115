/** How slowly the teacher follows the student. */
import type { Ablation } from '../ablation.ts';
import { s3a } from '../methods/s3a.ts';

const DECAYS = [0, 0.9, 0.99, 0.999];

export const ema: Ablation = {
  name: 'ema',
  title: "Decay of the teacher's average",
  about: 'Constant decays, and the ramp that is set; with 0 the teacher is the student of the step before.',
  variants: ({ config }) => [
    ...DECAYS.map(decay => ({
      name: String(decay),
      method: s3a,
      settings: { emaStart: decay, emaEnd: decay, emaSteps: 0 },
    })),
    { name: `${config.emaStart} to ${config.emaEnd} in ${config.emaSteps}`, method: s3a, settings: {} },
  ],
};
