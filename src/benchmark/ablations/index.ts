/** The ablations by name. */
import { S3aError } from '../../errors.ts';
import type { Ablation } from '../ablation.ts';
import { components } from './components.ts';
import { ema } from './ema.ts';
import { images } from './images.ts';
import { k } from './k.ts';
import { prompts } from './prompts.ts';
import { tau } from './tau.ts';
import { vocabulary } from './vocabulary.ts';
import { wStr } from './w-str.ts';

export const ABLATIONS: readonly Ablation[] = [components, wStr, tau, k, prompts, vocabulary, ema, images];

/** Throws S3aError CONFIG for an unknown name. */
export function ablationOf(name: string): Ablation {
  const found = ABLATIONS.find(ablation => ablation.name === name);
  if (found) return found;
  const known = ABLATIONS.map(ablation => ablation.name).join(', ');
  throw new S3aError('CONFIG', `there is no ablation '${name.slice(0, 100)}'`, `Known: ${known}.`);
}
