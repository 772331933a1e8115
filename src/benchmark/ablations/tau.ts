/** The confidence from which the teacher's label counts. */
import type { Ablation } from '../ablation.ts';
import { s3a } from '../methods/s3a.ts';

export const tau: Ablation = {
  name: 'tau',
  title: 'Confidence threshold',
  about: "The teacher's label of an image counts above it.",
  axis: { title: 'τ', scale: 'linear' },
  variants: ({ config }) =>
    [...new Set([0, 0.3, 0.5, 0.7, 0.9, config.threshold])]
      .sort((a, b) => a - b)
      .map(value => ({ name: String(value), value, method: s3a, settings: { threshold: value } })),
};
