/** A mistyped run folder where a model would do as well: the hub should not be asked for it. */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nearest } from '../config/suggest.ts';
import { S3aError } from '../errors.ts';

/**
 * Refuses `runs/photoz` where there is no such folder and other runs lie beside it; everything else may be a model.
 * @throws S3aError RUN with the run that was probably meant
 */
export function refuseMissingRun(place: string): void {
  const above = dirname(place);
  if (existsSync(place) || above === '.' || !existsSync(above)) return;
  const names = readdirSync(above).filter(name => existsSync(join(above, name, 'manifest.json')));
  if (names.length === 0) return;
  const meant = nearest(place.slice(above.length + 1), names);
  const there = names.length === 1 ? `${join(above, names[0])} is one.` : `There are ${names.length} in ${above}.`;
  const hint = meant === undefined ? there : `Did you mean ${join(above, meant)}?`;
  throw new S3aError('RUN', `there is no run in ${place}`, hint);
}
