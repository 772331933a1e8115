/** Structural labels anew from the teacher: its features of all images, then vote and re-assign (METHOD §3). */

import type { Preprocess } from '../clip/preprocess.ts';
import type { ClipConfig } from '../clip/towers/config.ts';
import { visionParameters, visionTower } from '../clip/towers/vision.ts';
import { type Starved, type VoteOptions, vote } from '../discover/vote.ts';
import { compile, input, l2Normalize, program, type Session, type SessionOptions, state } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import { createLoader } from '../images/loader.ts';

/**
 * Names images anew from their features and the clusters that discovery started from.
 * @param features [N, D] unit rows
 * @param clusters [N]
 * @returns [N] vocabulary indices, −1 for unknown
 */
export type Relabel = (features: Float32Array, clusters: Int32Array) => Promise<Int32Array>;

/**
 * Unit features of all images that can be read, by the weights of an image tower: the images' indices [M], and [M, D].
 * @param weights by transformers' names
 */
export type EmbedAll = (
  weights: Readonly<Record<string, Float32Array>>,
  onProgress?: (done: number, total: number) => void,
) => Promise<[Int32Array, Float32Array]>;

export interface RenewalOptions extends SessionOptions {
  config: ClipConfig;
  preprocess: Preprocess;
  /** Folder that `files` are relative to. */
  root: string;
  files: readonly string[];
  /** [V, D] unit text prototypes. */
  prototypes: Float32Array;
  /** [N] the clusters of the images that discovery started from (METHOD §2.1). */
  clusters: Int32Array;
  /** Default 3. */
  rounds?: number;
  /** What becomes of clusters without a name, as in `vote`. */
  starved?: Starved;
  /** Default the vote of METHOD §3. */
  relabel?: Relabel;
  /** How images are embedded; default from their files by the whole tower. */
  embedAll?: EmbedAll;
  /** Images computed at once; default 32. */
  batch?: number;
  workers?: number;
}

export interface Renewal {
  /**
   * Structural labels [N] by the teacher's weights; −1 for an image that cannot be read.
   * @param teacher image-tower weights by transformers' names
   * @param onProgress called with the number of images seen and of all images; what it throws ends the work
   * @throws S3aError EMPTY when no image can be read
   */
  labels(
    teacher: Readonly<Record<string, Float32Array>>,
    onProgress?: (done: number, total: number) => void,
  ): Promise<Int32Array>;
  dispose(): Promise<void>;
}

/** The renewal of structural labels, compiled once for all epochs; dispose of it when done. */
export async function createRenewal(options: RenewalOptions): Promise<Renewal> {
  const { config, root, files, prototypes, clusters, rounds, starved, device, threads } = options;
  const width = config.projection_dim;
  const whole = options.embedAll ? undefined : await wholeTower(options);
  const embedAll = options.embedAll ?? whole!.embedAll;
  const relabel = options.relabel ?? byVote({ prototypes, width, rounds, starved, threads, device });
  return {
    async labels(teacher, onProgress) {
      const [readable, features] = await embedAll(teacher, onProgress);
      if (readable.length === 0) {
        throw new S3aError('EMPTY', `none of the ${files.length} images under ${root} can be read any more`);
      }
      const start = Int32Array.from(readable, index => clusters[index]);
      const labels = new Int32Array(files.length).fill(-1);
      (await relabel(features, start)).forEach((label, i) => {
        labels[readable[i]] = label;
      });
      return labels;
    },
    dispose: async () => whole?.dispose(),
  };
}

/**
 * What embeds the evaluation views of image files by the whole tower; dispose of it when done.
 * @param frozen weights are constants, and each pass has a session of its own; by default under CUDA, where other states would
 * move to the card with every batch
 */
export async function wholeTower(
  options: Pick<
    RenewalOptions,
    'config' | 'preprocess' | 'root' | 'files' | 'device' | 'threads' | 'workers' | 'batch'
  >,
  frozen = options.device === 'cuda',
): Promise<{ embedAll: EmbedAll; dispose(): Promise<void> }> {
  const { config, preprocess, root, files, device, threads, workers = 0 } = options;
  const width = config.projection_dim;
  const { size } = preprocess;
  const batch = Math.min(options.batch ?? 32, files.length);
  const names = visionParameters(config).map(({ name }) => name);
  const tower = visionTower(config, state, input('pixels', 'float32', [batch, 3, size, size]));
  const open = () => compile(program({ embedding: l2Normalize(tower) }), { device, threads, frozen });
  const kept = frozen ? undefined : await open();
  const loader = createLoader({ root, files, workers, ...preprocess });
  const embedAll: EmbedAll = async (weights, onProgress) => {
    const session = kept ?? (await open());
    try {
      return await passOf(session, weights, onProgress);
    } finally {
      if (session !== kept) await session.dispose();
    }
  };
  const passOf = async (session: Session, ...[weights, onProgress]: Parameters<EmbedAll>): ReturnType<EmbedAll> => {
    await session.setState(Object.fromEntries(names.map(name => [name, weights[name]])));
    const features = new Float32Array(files.length * width);
    const readable: number[] = [];
    let done = 0;
    for await (const { indices, views, failed } of loader.batches({ batchSize: batch, views: ['evaluation'] })) {
      const pixels = new Float32Array(batch * 3 * size * size);
      pixels.set(views.evaluation);
      const { embedding } = await session.run({ pixels });
      const rows = (embedding as Float32Array).subarray(0, indices.length * width);
      features.set(rows, readable.length * width);
      readable.push(...indices);
      done += indices.length + failed.length;
      onProgress?.(done, files.length);
    }
    return [Int32Array.from(readable), features.subarray(0, readable.length * width)];
  };
  return {
    embedAll,
    async dispose() {
      await loader.dispose();
      await kept?.dispose();
    },
  };
}

/** Vote and re-assignment by the plain prototypes, without the language model. */
function byVote({ prototypes, ...options }: VoteOptions & { prototypes: Float32Array }): Relabel {
  return async (features, clusters) => (await vote(features, prototypes, clusters, options)).rounds.at(-1)!.labels;
}
