/** What `--method auto` is for a run: its parts from the settings, and the factor that turns cosines into chances. */
import type { Config } from '../config/schema.ts';
import { type AutoParts, autoNames } from '../discover/auto.ts';
import type { Relabel } from '../train/structural.ts';
import { isBrought } from './brought.ts';
import type { Run } from './store.ts';

// What nearly every CLIP has learnt, for features that come without a model.
const USUAL_SCALE = 100;
// A language model's phrases are worth asking for where the second name has half of the first one's votes.
const USUAL_MARGIN = 0.5;

/** The parts of `auto` as the settings have them. */
export function autoParts(config: Config): AutoParts {
  const { voteTop, hubCorrection: hubs, manyToOne, unknownBelow, neighbours, smoothing } = config;
  return { voteTop, hubs, manyToOne, unknownBelow, neighbours, smoothing };
}

/** How close candidates must be to be asked about; 1 asks about all, as METHOD does. */
export function promptMargin({ method, promptMargin: given, llm }: Config): number {
  if (method === 's3a') return 1;
  // Definitions are no better than votes at telling close names apart: docs/discovery.md.
  return given ?? (llm === 'gloss' ? 0 : USUAL_MARGIN);
}

/** The factor of cosines before a softmax. */
export async function logitScaleOf(run: Run): Promise<number> {
  if (run.config.logitScale !== undefined) return run.config.logitScale;
  return isBrought(run.config) ? USUAL_SCALE : (await run.clip()).logitScale;
}

/** How structural labels are renewed from a teacher's features: as the vote stage found them; undefined is METHOD's own way. */
export async function relabelOf(run: Run, prototypes: Float32Array, width: number): Promise<Relabel | undefined> {
  if (run.config.method === 's3a') return undefined;
  const { threads, device } = run.config;
  const options = { ...autoParts(run.config), width, scale: await logitScaleOf(run), threads, device };
  return async (features, clusters) => (await autoNames(features, prototypes, clusters, options)).labels;
}
