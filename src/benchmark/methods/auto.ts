/** S³A as it is recommended here: `--method auto`, then the same training. */
import type { Method } from '../method.ts';
import { s3aWith } from './s3a.ts';

const title = 'S³A as recommended (auto)';

export const auto: Method = s3aWith({
  name: 'auto',
  title,
  about: 'Discovery by soft votes, names that several clusters may take and smoothing, then self-training.',
  settings: { method: 'auto' },
  trained: true,
});

export const autoDiscovery: Method = s3aWith({
  name: 'auto-discovery',
  title,
  about: 'Discovery alone, as it is recommended here.',
  settings: { method: 'auto' },
  trained: false,
});
