/** Images as patches and back: a patch is what the tower has one feature for. */
import type { ClipConfig } from '../../clip/towers/config.ts';
import { resnetStride } from '../../clip/towers/resnet.ts';
import { reshape, type Tensor, transpose } from '../../engine/index.ts';
import { S3aError } from '../../errors.ts';

/**
 * Pixels along a side of what the tower has one feature for: a patch of a vision transformer, the stride of a residual tower.
 * @throws S3aError MODEL for a tower without patches to mask
 */
export function patchSize({ vision_config: vision }: ClipConfig): number {
  if (vision.model_type === 's3a_resnet') return resnetStride(vision);
  if (vision.model_type === 'clip_vision_model') return vision.patch_size;
  throw new S3aError(
    'MODEL',
    `MUST needs an image tower with a class token or attention pooling of CLIP's kind, not ${vision.model_type}`,
    'Use a CLIP model.',
  );
}

/** Images [B, 3, S, S] as their patches [B, (S/P)², 3·P²], row by row; within a patch channel, then row, then column. */
export function toPatches(pixels: Tensor, patch: number): Tensor {
  const [batch, channels, size] = pixels.shape;
  const side = size / patch;
  const grid = transpose(reshape(pixels, [batch, channels, side, patch, side, patch]), [0, 2, 4, 1, 3, 5]);
  return reshape(grid, [batch, side * side, channels * patch * patch]);
}

/** The inverse of `toPatches`. */
export function fromPatches(patches: Tensor, patch: number): Tensor {
  const [batch, count] = patches.shape;
  const side = Math.sqrt(count);
  const grid = transpose(reshape(patches, [batch, side, side, 3, patch, patch]), [0, 3, 1, 4, 2, 5]);
  return reshape(grid, [batch, 3, side * patch, side * patch]);
}
