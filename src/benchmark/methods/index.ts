/** The methods by name, in the order of the table. */
import { S3aError } from '../../errors.ts';
import type { Method } from '../method.ts';
import { auto, autoDiscovery } from './auto.ts';
import { bound } from './bound.ts';
import { clip } from './clip.ts';
import { kmeansVote } from './kmeans-vote.ts';
import { must } from './must.ts';
import { s3a, s3aDiscovery } from './s3a.ts';
import { scd } from './scd.ts';

export const METHODS: readonly Method[] = [bound, clip, kmeansVote, scd, must, s3aDiscovery, s3a, autoDiscovery, auto];

/** What is measured when nobody asks for anything else. */
export const DEFAULT_METHODS: readonly string[] = ['bound', 'clip', 'kmeans-vote', 'scd', 'must', 's3a', 'auto'];

/** Throws S3aError CONFIG for an unknown name. */
export function methodOf(name: string): Method {
  const found = METHODS.find(method => method.name === name);
  if (found) return found;
  const known = METHODS.map(method => method.name).join(', ');
  throw new S3aError('CONFIG', `there is no method '${name.slice(0, 100)}' to compare`, `Known: ${known}.`);
}
