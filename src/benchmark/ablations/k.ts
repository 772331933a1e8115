/** An error in the number of clusters, from −30 % to +50 %. */
import type { Ablation } from '../ablation.ts';
import { s3a, s3aDiscovery } from '../methods/s3a.ts';

const ERRORS = [-30, -20, -10, 0, 10, 20, 30, 50];

export const k: Ablation = {
  name: 'k',
  title: 'Number of clusters',
  about: 'K is wrong by so much.',
  axis: { title: 'error of K in %', scale: 'linear' },
  variants: ({ k: right, trained }) =>
    ERRORS.map(error => ({
      name: `${error > 0 ? '+' : ''}${error} %`,
      value: error,
      method: trained ? s3a : s3aDiscovery,
      settings: { k: Math.max(1, Math.round(right * (1 + error / 100))) },
    })),
};
