/** The weight of the structural loss. */
import type { Ablation } from '../ablation.ts';
import { s3a } from '../methods/s3a.ts';

export const wStr: Ablation = {
  name: 'w-str',
  title: 'Weight of the structural loss',
  about: 'The instance loss keeps its weight.',
  axis: { title: 'w_str', scale: 'linear' },
  variants: ({ config }) =>
    [...new Set([0, 0.1, 0.25, 0.5, 1, config.structuralWeight])]
      .sort((a, b) => a - b)
      .map(value => ({ name: String(value), value, method: s3a, settings: { structuralWeight: value } })),
};
