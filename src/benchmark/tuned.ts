/** Images of the test split as a trained network sees them. */
import { visionParameters } from '../clip/towers/vision.ts';
import type { Embedded } from '../run/embed.ts';
import { featuresBy } from '../run/features.ts';
import type { Run } from '../run/store.ts';
import { readStates } from '../train/checkpoint.ts';
import type { Role } from '../train/tower.ts';
import { tunePlan } from '../train/tune.ts';
import { roleWeights } from '../train/weights.ts';

/**
 * Features [N, D] of images by the student or teacher of a run that was trained.
 * @throws S3aError CHECKPOINT when the run has no checkpoint, BAD_IMAGE for an image that could be read before
 */
export async function tunedFeatures(run: Run, images: Embedded, role: Role): Promise<Float32Array> {
  return featuresBy(run, images, () => tunedWeights(run, role));
}

/** The image tower of one network: what the last checkpoint has of it, and what was not trained as it was. */
async function tunedWeights(run: Run, role: Role): Promise<Record<string, Float32Array>> {
  const { checkpoint } = await run.clip();
  const plan = tunePlan(checkpoint.config, run.config);
  const tower = visionParameters(checkpoint.config).map(({ name }) => name);
  const names = plan.trained.map(({ name }) => `${role}.${name}`);
  const states = await readStates(run.path('checkpoints'), names);
  return roleWeights(await checkpoint.readWeights(tower), plan, states, role);
}
