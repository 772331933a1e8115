/** Embeddings of image files by the whole of an image tower whose weights change from pass to pass. */
import { imagesAtOnce } from '../clip/encoders.ts';
import type { Preprocess } from '../clip/preprocess.ts';
import type { ClipConfig } from '../clip/towers/config.ts';
import { visionParameters, visionTower } from '../clip/towers/vision.ts';
import { compile, input, l2Normalize, program, type Session, type SessionOptions, state } from '../engine/index.ts';
import { createLoader, type Loader } from '../images/loader.ts';

/**
 * Unit features of all images that can be read, by the weights of an image tower: the images' indices [M], and [M, D].
 * @param weights by transformers' names
 */
export type EmbedAll = (
  weights: Readonly<Record<string, Float32Array>>,
  onProgress?: (done: number, total: number) => void,
) => Promise<[Int32Array, Float32Array]>;

export interface TowerOptions extends Pick<SessionOptions, 'device' | 'threads'> {
  config: ClipConfig;
  preprocess: Preprocess;
  /** Folder that `files` are relative to. */
  root: string;
  files: readonly string[];
  /** Images computed at once; default `imagesAtOnce` of 32. */
  batch?: number;
  workers?: number;
}

/**
 * What embeds the evaluation views of image files by the whole tower; dispose of it when done.
 * @param frozen weights are constants, and each pass has a session of its own; by default under CUDA, where other states would
 * move to the card with every batch
 */
export async function wholeTower(
  options: TowerOptions,
  frozen = options.device === 'cuda',
): Promise<{ embedAll: EmbedAll; dispose(): Promise<void> }> {
  const { config, preprocess, root, files, device, threads, workers = 0 } = options;
  const batch = Math.min(options.batch ?? imagesAtOnce(config, 32, device), files.length);
  const names = visionParameters(config).map(({ name }) => name);
  const tower = visionTower(config, state, input('pixels', 'float32', [batch, 3, preprocess.size, preprocess.size]));
  const graph = program({ embedding: l2Normalize(tower) });
  const open = (): Promise<Session> => compile(graph, { device, threads, frozen });
  const kept = frozen ? undefined : await open();
  const loader = createLoader({ root, files, workers, ...preprocess });
  return {
    async embedAll(weights, onProgress) {
      const session = kept ?? (await open());
      try {
        await session.setState(Object.fromEntries(names.map(name => [name, weights[name]])));
        return await passOver(files.length, loader, session, { config, preprocess, batch }, onProgress);
      } finally {
        if (session !== kept) await session.dispose();
      }
    },
    async dispose() {
      await loader.dispose();
      await kept?.dispose();
    },
  };
}

/** One pass over all images, by the weights that the session has. */
async function passOver(
  count: number,
  loader: Loader,
  session: Session,
  { config, preprocess: { size }, batch }: Pick<TowerOptions, 'config' | 'preprocess'> & { batch: number },
  onProgress: Parameters<EmbedAll>[1],
): ReturnType<EmbedAll> {
  const width = config.projection_dim;
  const features = new Float32Array(count * width);
  const readable: number[] = [];
  let done = 0;
  for await (const { indices, views, failed } of loader.batches({ batchSize: batch, views: ['evaluation'] })) {
    const pixels = new Float32Array(batch * 3 * size * size);
    pixels.set(views.evaluation);
    const { embedding } = await session.run({ pixels });
    features.set((embedding as Float32Array).subarray(0, indices.length * width), readable.length * width);
    readable.push(...indices);
    done += indices.length + failed.length;
    onProgress?.(done, count);
  }
  return [Int32Array.from(readable), features.subarray(0, readable.length * width)];
}
