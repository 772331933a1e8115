/** Images of the test split as a trained network sees them. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { loadCheckpoint } from '../clip/checkpoint/checkpoint.ts';
import { createImageEncoder } from '../clip/encoders.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { S3aError } from '../errors.ts';
import { createLoader } from '../images/loader.ts';
import { openSafetensors } from '../io/safetensors.ts';
import type { Embedded } from '../run/embed.ts';
import type { Run } from '../run/store.ts';

/**
 * Features [N, D] of images by the student or teacher of a run that was trained; undefined where only the other one was kept.
 * @throws S3aError RUN when the run has no checkpoint, BAD_IMAGE for an image that could be read before
 */
export async function tunedFeatures(
  run: Run,
  images: Embedded,
  role: 'student' | 'teacher',
): Promise<Float32Array | undefined> {
  const weights = await tunedWeights(run, role);
  return weights && featuresBy(run, images, weights);
}

/** Features [N, D] of images by other weights of a run's image tower. */
export async function featuresBy(
  run: Run,
  { root, files, width }: Pick<Embedded, 'root' | 'files' | 'width'>,
  weights: Readonly<Record<string, Float32Array>>,
): Promise<Float32Array> {
  const { checkpoint } = await run.clip();
  const { workers, embedBatch, threads, device, maxPixels } = run.config;
  const features = new Float32Array(files.length * width);
  const loader = createLoader({ ...checkpoint.preprocess, root, files, workers, maxPixels });
  const encoder = await createImageEncoder(checkpoint, { batch: embedBatch, threads, device }, weights);
  try {
    let at = 0;
    for await (const { indices, views, failed } of loader.batches({ batchSize: embedBatch, views: ['evaluation'] })) {
      if (failed.length > 0) {
        const [{ index, reason }] = failed;
        throw new S3aError('BAD_IMAGE', `${files[index]} could be read at first but not any more: ${reason}`);
      }
      features.set(await encoder.embed(views.evaluation), at);
      at += indices.length * width;
      run.progress('embed', at / width, files.length);
    }
  } finally {
    await encoder.dispose();
    await loader.dispose();
  }
  return features;
}

/**
 * The image tower of one network as the last checkpoint has it, what was not trained as it was. Where low-rank factors were trained
 * instead of weights, only the teacher is saved in full.
 */
async function tunedWeights(run: Run, role: string): Promise<Record<string, Float32Array> | undefined> {
  const folder = run.path('checkpoints');
  const last = (existsSync(folder) ? await readdir(folder) : [])
    .filter(name => /^step-\d+\.safetensors$/.test(name))
    .sort()
    .at(-1);
  if (last === undefined) throw new S3aError('RUN', `${folder} holds no checkpoint`, 'Remove the run and start again.');
  const { checkpoint } = await run.clip();
  const tower = visionParameters(checkpoint.config).map(({ name }) => name);
  const file = await openSafetensors(run.path('checkpoints', last));
  try {
    const trained = file.names.filter(name => name.startsWith(`${role}.`)).map(name => name.slice(role.length + 1));
    if (trained.every(name => tower.includes(name))) {
      const weights = await checkpoint.readWeights(tower.filter(name => !trained.includes(name)));
      for (const name of trained) weights[name] = await file.readFloat32(`${role}.${name}`);
      return weights;
    }
  } finally {
    await file.close();
  }
  return role === 'teacher' ? (await loadCheckpoint(run.path('model'))).readWeights(tower) : undefined;
}
