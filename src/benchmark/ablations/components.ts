/** Which part is worth what: clusters, vote, phrases with realignment, and the two losses. */
import type { Ablation } from '../ablation.ts';
import { kmeansVote } from '../methods/kmeans-vote.ts';
import { s3aWith } from '../methods/s3a.ts';
import { scd } from '../methods/scd.ts';

const base = { about: 'A part of the method.', settings: { method: 's3a' } } as const;

/** No cluster and no vote: the structural labels are CLIP's own. */
const withoutClusters = s3aWith({ ...base, name: 's3a-zero-shot', title: 'S³A', labels: 'zero_shot', trained: true });
/** No phrases and no realignment: the structural labels are those of the vote. */
const withoutPhrases = s3aWith({ ...base, name: 's3a-vote', title: 'S³A', labels: 'vote', trained: true });
const whole = s3aWith({ ...base, name: 's3a', title: 'S³A', trained: true });

/** No epoch comes so late that its labels would be renewed. */
const NEVER = 1_000_000_000;

export const components: Ablation = {
  name: 'components',
  title: 'Components',
  about:
    'C: clusters. V: the vote in rounds. P, R: phrases and the realignment by them, which act together. I, S: the instance and the structural loss.',
  variants: () => [
    { name: 'C, one vote', method: kmeansVote, settings: {} },
    { name: 'C V', method: scd, settings: {} },
    { name: 'I S on CLIP (no C V P R)', method: withoutClusters, settings: { renewFrom: NEVER } },
    { name: 'C V I S (no P R)', method: withoutPhrases, settings: {} },
    { name: 'C V P R I (no S)', method: whole, settings: { structuralWeight: 0 } },
    { name: 'C V P R S (no I)', method: whole, settings: { instanceWeight: 0 } },
    { name: 'C V P R I S, never renewed', method: whole, settings: { renewFrom: NEVER } },
    { name: 'C V P R I S', method: whole, settings: {} },
  ],
};
