/** Images of the test split as a trained network sees them. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { visionParameters } from '../clip/towers/vision.ts';
import { S3aError } from '../errors.ts';
import { openSafetensors } from '../io/safetensors.ts';
import type { Embedded } from '../run/embed.ts';
import { featuresBy } from '../run/features.ts';
import type { Run } from '../run/store.ts';
import type { Role } from '../train/tower.ts';
import { tunePlan } from '../train/tune.ts';
import { roleWeights } from '../train/weights.ts';

/**
 * Features [N, D] of images by the student or teacher of a run that was trained.
 * @throws S3aError RUN when the run has no checkpoint, BAD_IMAGE for an image that could be read before
 */
export async function tunedFeatures(run: Run, images: Embedded, role: Role): Promise<Float32Array> {
  return featuresBy(run, images, await tunedWeights(run, role));
}

/** The image tower of one network: what the last checkpoint has of it, and what was not trained as it was. */
async function tunedWeights(run: Run, role: Role): Promise<Record<string, Float32Array>> {
  const folder = run.path('checkpoints');
  const last = (existsSync(folder) ? await readdir(folder) : [])
    .filter(name => /^step-\d+\.safetensors$/.test(name))
    .sort()
    .at(-1);
  if (last === undefined) throw new S3aError('RUN', `${folder} holds no checkpoint`, 'Remove the run and start again.');
  const { checkpoint } = await run.clip();
  const plan = tunePlan(checkpoint.config, run.config);
  const tower = visionParameters(checkpoint.config).map(({ name }) => name);
  const file = await openSafetensors(run.path('checkpoints', last));
  try {
    const states: Record<string, Float32Array> = {};
    for (const { name } of plan.trained) states[`${role}.${name}`] = await file.readFloat32(`${role}.${name}`);
    return roleWeights(await checkpoint.readWeights(tower), plan, states, role);
  } finally {
    await file.close();
  }
}
