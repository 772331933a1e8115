/** Features of images by tuned weights. */
import { createImageEncoder, type TunedWeights } from '../clip/encoders.ts';
import type { Rows } from '../discover/row-pass.ts';
import { S3aError } from '../errors.ts';
import type { Failure } from '../images/batch.ts';
import { createLoader } from '../images/loader.ts';
import type { Embedded } from './embed.ts';
import { withoutPath } from './scan.ts';
import type { Run } from './store.ts';

/**
 * Features [N, D] of images, in the evaluation view, by other weights of a run's image tower.
 * @param before [N, D] features that stand, with a warning, for images that could be read before and cannot be any more
 * @throws S3aError BAD_IMAGE for such an image without features from before, or when no image can be read
 */
export async function featuresBy(
  run: Run,
  { root, files, width }: Pick<Embedded, 'root' | 'files' | 'width'>,
  weights: TunedWeights,
  before?: Rows,
): Promise<Float32Array> {
  const { checkpoint } = await run.clip();
  const { workers, embedBatch, threads, device, maxPixels } = run.config;
  const features = new Float32Array(files.length * width);
  const lost: Failure[] = [];
  const loader = createLoader({ ...checkpoint.preprocess, root, files, workers, maxPixels });
  const encoder = await createImageEncoder(checkpoint, { batch: embedBatch, threads, device }, weights);
  try {
    for await (const { indices, views, failed } of loader.batches({ batchSize: embedBatch, views: ['evaluation'] })) {
      lost.push(...failed);
      if (indices.length === 0) continue;
      const rows = await encoder.embed(views.evaluation);
      for (const [i, index] of indices.entries())
        features.set(rows.subarray(i * width, (i + 1) * width), index * width);
    }
  } finally {
    await encoder.dispose();
    await loader.dispose();
  }
  if (lost.length === 0) return features;
  const [{ index, reason }] = lost;
  const what = `${files[index]} could be read at first but not any more: ${withoutPath(reason, root, files[index])}`;
  if (!before || lost.length === files.length) {
    throw new S3aError('BAD_IMAGE', what, 'Put it back, or start again with --resume to leave it out.');
  }
  const others = lost.length === 1 ? 'it' : `it and ${lost.length - 1} more`;
  run.warn(`${what}; features from before the training stand for ${others}`);
  for (const { index } of lost) features.set(await before.read(index, index + 1), index * width);
  return features;
}
