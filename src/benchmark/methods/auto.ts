/** S³A as it is recommended here: `--method auto`, then the same training. */
import type { Method } from '../method.ts';
import { s3aWith } from './s3a.ts';

export const auto: Method = s3aWith({
  name: 'auto',
  title: 'S³A as recommended (auto)',
  about: 'Discovery by soft votes, names that several clusters may take and smoothing, then self-training.',
  settings: { method: 'auto' },
  trained: true,
});
