/** A CLIP or SigLIP model ready to use: images and texts as unit embeddings in one space. */
import type { ResolveOptions } from '../hub/index.ts';
import { type Checkpoint, loadCheckpoint } from './checkpoint/checkpoint.ts';
import { createImageEncoder, createTextEncoder, type EncoderOptions, type OnProgress } from './encoders.ts';
import type { Preprocess } from './preprocess.ts';
import type { ClipConfig } from './towers/config.ts';

export interface Clip {
  readonly config: ClipConfig;
  /** How an image becomes pixels for `embedImages`. */
  readonly preprocess: Preprocess;
  /**
   * Factor of cosine similarities before a softmax; 100 for most CLIPs. SigLIP's logit bias, which is the same for all names,
   * leaves a softmax over names as it is, so nothing here reads it.
   */
  readonly logitScale: number;
  readonly checkpoint: Checkpoint;
  /** Unit embeddings [N, D] of preprocessed pixels [N, 3, S, S]; throws S3aError SHAPE for a part of an image. */
  embedImages(pixels: Float32Array, onProgress?: OnProgress): Promise<Float32Array>;
  /** Unit embeddings [N, D] of N texts. */
  embedTexts(texts: readonly string[], onProgress?: OnProgress): Promise<Float32Array>;
  /** Frees what has been compiled: both towers, or one of them; what is embedded later compiles it again. */
  release(tower?: 'images' | 'texts'): Promise<void>;
  /** Ends the threads and frees the weights. */
  dispose(): Promise<void>;
}

/**
 * Loads a model; each tower is compiled when it is first used.
 * @param model `demo` for the model inside the package, a folder, a file of weights, `org/name[@revision]` on the hub, or
 * a name of open_clip's with `pretrained`
 * @throws S3aError as `loadCheckpoint`
 * @example
 * const clip = await loadClip('demo');
 * const embeddings = await clip.embedTexts(['a photo of a cat']); // [1, D]
 * await clip.dispose();
 */
export async function loadClip(model: string, options: EncoderOptions & ResolveOptions = {}): Promise<Clip> {
  const checkpoint = await loadCheckpoint(model, options);
  const { logit_scale: scale } = await checkpoint.readWeights(['logit_scale']);
  const texts = createTextEncoder(checkpoint, options);
  let images: ReturnType<typeof createImageEncoder> | undefined;
  const release: Clip['release'] = async tower => {
    if (tower !== 'images') await texts.dispose();
    if (tower === 'texts') return;
    const opened = images;
    images = undefined;
    await (await opened?.catch(() => undefined))?.dispose();
  };
  return {
    config: checkpoint.config,
    preprocess: checkpoint.preprocess,
    logitScale: Math.exp(scale[0]),
    checkpoint,
    async embedImages(pixels, onProgress) {
      images ??= createImageEncoder(checkpoint, options);
      return (await images).embed(pixels, onProgress);
    },
    embedTexts: texts.embed,
    release,
    dispose: () => release(),
  };
}
