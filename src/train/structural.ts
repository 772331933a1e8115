/** Structural labels anew from the teacher: its features of all images, then vote and re-assign (METHOD §3). */
import { type VoteOptions, vote } from '../discover/vote.ts';
import { S3aError } from '../errors.ts';
import { type EmbedAll, type TowerOptions, wholeTower } from './whole-tower.ts';

/**
 * Names images anew from their features and the clusters that discovery started from.
 * @param features [N, D] unit rows
 * @param clusters [N]
 * @returns [N] vocabulary indices, −1 for unknown
 */
export type Relabel = (features: Float32Array, clusters: Int32Array) => Promise<Int32Array>;

export interface RenewalOptions extends TowerOptions {
  /** [V, D] unit text prototypes. */
  prototypes: Float32Array;
  /** [N] the clusters of the images that discovery started from (METHOD §2.1). */
  clusters: Int32Array;
  /** Default 3. */
  rounds?: number;
  /** Default the vote of METHOD §3. */
  relabel?: Relabel;
  /** How images are embedded; default from their files by the whole tower. */
  embedAll?: EmbedAll;
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
  const { config, root, files, prototypes, clusters, rounds, device, threads } = options;
  const width = config.projection_dim;
  const whole = options.embedAll ? undefined : await wholeTower(options);
  const embedAll = options.embedAll ?? whole!.embedAll;
  const relabel = options.relabel ?? byVote({ prototypes, width, rounds, threads, device });
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

/** Vote and re-assignment by the plain prototypes, without the language model. */
function byVote({ prototypes, ...options }: VoteOptions & { prototypes: Float32Array }): Relabel {
  return async (features, clusters) => (await vote(features, prototypes, clusters, options)).rounds.at(-1)!.labels;
}
