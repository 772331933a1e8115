/** Patch dropout: the student sees some of the patches of an image (FLIP, Li et al. 2022, arXiv 2212.00794; as open_clip has it). */
import type { ClipConfig } from '../clip/towers/config.ts';
import { random } from '../random.ts';

/** Patches of an image, and whether a class token comes before them. */
function tokensOf({ vision_config: vision }: ClipConfig): { patches: number; first: number } {
  if (vision.model_type === 's3a_resnet') return { patches: 0, first: 0 };
  const grid = Math.floor(vision.image_size / vision.patch_size);
  return { patches: grid ** 2, first: vision.model_type === 'siglip_vision_model' ? 0 : 1 };
}

/** Tokens that are seen of each image, K: the class token, and the kept share of the patches, at least one. */
export function keptTokens(config: ClipConfig, dropout: number): number {
  const { patches, first } = tokensOf(config);
  return first + Math.max(1, Math.floor(patches * (1 - dropout)));
}

/**
 * Which tokens of each image of a batch are seen, as rows of all its tokens; each image draws from (seed, epoch, index).
 * @param indices of the images
 * @returns int32 [B·K], rising within each image
 */
export function drawTokens(
  config: ClipConfig,
  dropout: number,
  indices: ArrayLike<number>,
  seed: number,
  epoch: number,
): Int32Array {
  const { patches, first } = tokensOf(config);
  const kept = keptTokens(config, dropout);
  const rows = new Int32Array(indices.length * kept);
  for (let row = 0; row < indices.length; row++) {
    const order = Int32Array.from({ length: patches }, (_, i) => i);
    const draw = random(seed, 'patch dropout', epoch, indices[row]);
    const base = row * (patches + first);
    const seen = draw
      .shuffle(order)
      .subarray(0, kept - first)
      .sort();
    if (first > 0) rows[row * kept] = base;
    for (const [i, patch] of seen.entries()) rows[row * kept + first + i] = base + first + patch;
  }
  return rows;
}
