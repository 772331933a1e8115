/** Features of images by tuned weights. */
import { createImageEncoder, type TunedWeights } from '../clip/encoders.ts';
import { S3aError } from '../errors.ts';
import { createLoader } from '../images/loader.ts';
import type { Embedded } from './embed.ts';
import type { Run } from './store.ts';

/**
 * Features [N, D] of images, in the evaluation view, by other weights of a run's image tower.
 * @throws S3aError BAD_IMAGE for an image that could be read before
 */
export async function featuresBy(
  run: Run,
  { root, files, width }: Pick<Embedded, 'root' | 'files' | 'width'>,
  weights: TunedWeights,
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
        throw new S3aError(
          'BAD_IMAGE',
          `${files[index]} could be read at first but not any more: ${reason}`,
          'Put it back, or start again with --resume to leave it out.',
        );
      }
      features.set(await encoder.embed(views.evaluation), at);
      at += indices.length * width;
    }
  } finally {
    await encoder.dispose();
    await loader.dispose();
  }
  return features;
}
