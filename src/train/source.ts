/** Where a step's rows come from: the images themselves, or activations that were kept. */
import type { TensorData } from '../engine/index.ts';
import type { Failure } from '../images/batch.ts';
import { createLoader, type LoaderOptions } from '../images/loader.ts';
import { drawTokens } from './patch-dropout.ts';
import type { TrainData } from './settings.ts';
import type { TunePlan } from './tune.ts';

/** Rows of some images; those that cannot be read are in `failed` and nowhere else. */
export interface SourceBatch {
  /** The images there are, in the order asked for. */
  indices: Int32Array;
  /** Inputs of the step by name, each with an equal number of values for each of `indices`. */
  inputs: Record<string, TensorData>;
  failed: readonly Failure[];
}

export interface SourceRequest {
  indices: Int32Array;
  batchSize: number;
  epoch: number;
}

export interface TrainSource {
  /** The batches in order, each of up to `batchSize` images. */
  batches(request: SourceRequest): AsyncIterable<SourceBatch>;
  dispose(): Promise<void>;
}

/** A weak and a strong view of every image, anew in every epoch, and with patch dropout which tokens are seen. */
export function imageSource(
  { config, preprocess, root, files }: Pick<TrainData, 'config' | 'preprocess' | 'root' | 'files'>,
  { patchDropout }: TunePlan,
  { seed, ...options }: Pick<LoaderOptions, 'workers' | 'cacheBytes' | 'maxPixels'> & { seed: number },
): TrainSource {
  const loader = createLoader({ root, files, ...options, ...preprocess });
  async function* batches({ epoch, ...request }: SourceRequest): AsyncGenerator<SourceBatch> {
    for await (const batch of loader.batches({ ...request, views: ['weak', 'strong'], seed, epoch })) {
      const { indices, views, failed } = batch;
      const inputs: Record<string, TensorData> = { ...views };
      if (patchDropout > 0) inputs.tokens = drawTokens(config, patchDropout, indices, seed, epoch);
      yield { indices, inputs, failed };
    }
  }
  return { batches, dispose: () => loader.dispose() };
}
