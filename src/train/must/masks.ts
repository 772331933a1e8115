/** Which patches of an image the student does not see: whole squares of patches at random, the same for the same seed. */
import type { ClipConfig } from '../../clip/towers/config.ts';
import { S3aError } from '../../errors.ts';
import { random } from '../../random.ts';
import { patchSize } from './patches.ts';

export interface MaskGrid {
  /** Patches along a side of the image. */
  readonly side: number;
  /** Patches along a side of a masked square. */
  readonly square: number;
  /** Masked squares of an image. */
  readonly masked: number;
}

/**
 * The grid that masks are drawn on. As in the published code (salesforce/MUST, build_dataset.py, MaskGenerator) squares of
 * `pixels` are masked, ⌈squares · ratio⌉ of an image.
 * @param ratio share of the squares, above 0 and below 1
 * @param pixels side of a square, a multiple of the patch; default two patches where the image is a whole number of these
 *   (32 for ViT-B/16, as published), else one
 * @throws S3aError VALUE, or MODEL for a tower without patches
 */
export function maskGrid(config: ClipConfig, ratio: number, pixels?: number): MaskGrid {
  const size = config.vision_config.image_size;
  const patch = patchSize(config);
  const chosen = pixels ?? (size % (2 * patch) === 0 ? 2 * patch : patch);
  if (!(chosen > 0) || chosen % patch !== 0 || size % chosen !== 0) {
    const hint = `Give a multiple of the patch (${patch} pixels) of which the image (${size} pixels) is a whole number.`;
    throw new S3aError('VALUE', `MUST: squares of ${chosen} pixels cannot be masked`, hint);
  }
  const squares = (size / chosen) ** 2;
  const masked = Math.ceil(squares * ratio);
  if (!(ratio > 0 && masked < squares)) {
    const hint = 'Give a maskRatio above 0 that leaves a square to see.';
    throw new S3aError('VALUE', `MUST: a share of ${ratio} of ${squares} squares cannot be masked`, hint);
  }
  return { side: size / patch, square: chosen / patch, masked };
}

/**
 * Masks of a batch, [rows, side²]: 1 where the student does not see the patch; rows without an image are 0.
 *
 * Every draw comes from (seed, 'mask', epoch, index), so neither batch nor order matters.
 * @param indices of the images in the data set, one for each of the first rows
 */
export function drawMasks(
  { side, square, masked }: MaskGrid,
  indices: ArrayLike<number>,
  rows: number,
  { seed, epoch }: { seed: number; epoch: number },
): Float32Array {
  const masks = new Float32Array(rows * side * side);
  const squares = side / square;
  for (let row = 0; row < indices.length; row++) {
    const order = random(seed, 'mask', epoch, indices[row]).shuffle(
      Int32Array.from({ length: squares ** 2 }, (_, i) => i),
    );
    for (const chosen of order.subarray(0, masked)) {
      const top = Math.floor(chosen / squares) * square;
      const left = (chosen % squares) * square;
      for (let y = top; y < top + square; y++) {
        const start = (row * side + y) * side + left;
        masks.fill(1, start, start + square);
      }
    }
  }
  return masks;
}
