/** The image tower as an ONNX file that transformers.js, or ONNX Runtime in any language, runs at any batch size. */
import { join } from 'node:path';
import { constant, input, program, toOnnx } from '../../engine/index.ts';
import { S3aError } from '../../errors.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import type { ClipConfig } from '../towers/config.ts';
import { visionTower } from '../towers/vision.ts';

// No other extent of a tower is a multiple of this prime, so wherever it stands is the batch.
const BATCH = { extent: 1_000_003, name: 'batch_size' };

/**
 * The image tower with its weights: `pixel_values` [batch_size, 3, S, S] → `image_embeds` [batch_size, D], not normalised.
 * @param weights by transformers' names, at least those of `visionParameters(config)`
 * @throws S3aError WEIGHTS when one is missing, SHAPE when one does not fit
 */
export function imageTowerOnnx(config: ClipConfig, weights: Readonly<Record<string, Float32Array>>): Uint8Array {
  const size = config.vision_config.image_size;
  const pixels = input('pixel_values', 'float32', [BATCH.extent, 3, size, size]);
  const image_embeds = visionTower(
    config,
    (name, shape) => {
      if (!weights[name]) throw new S3aError('WEIGHTS', `cannot export the image tower: no weight ${name}`);
      return constant(weights[name], shape);
    },
    pixels,
  );
  return toOnnx(program({ image_embeds }), { free: [BATCH] });
}

/**
 * Writes `onnx/vision_model.onnx` into a model folder, where transformers.js's CLIPVisionModelWithProjection looks for it.
 * @throws S3aError as `imageTowerOnnx`, and WRITE
 */
export async function exportImageTower(
  folder: string,
  config: ClipConfig,
  weights: Readonly<Record<string, Float32Array>>,
): Promise<void> {
  await writeAtomic(join(folder, 'onnx', 'vision_model.onnx'), imageTowerOnnx(config, weights));
}
