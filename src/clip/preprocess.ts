/** preprocessor_config.json: how images become pixels, restricted to what CLIP and SigLIP do and src/images computes. */
import { z } from 'zod';
import { S3aError } from '../errors.ts';
import type { ViewGeometry } from '../images/augment.ts';

/** Resize to `size` in one of two ways, then (value / 255 − mean) / std a channel. */
export interface Preprocess extends Readonly<ViewGeometry> {
  readonly size: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** What every CLIP of OpenAI and LAION uses. */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711] as const;

/** What every SigLIP uses, for mean and deviation. */
const SIGLIP_HALF = [0.5, 0.5, 0.5] as const;

/** PIL's numbers. */
const RESAMPLE = { bilinear: 2, bicubic: 3 } as const;

const extent = z.int().min(1).max(2048);
const always = z.literal(true).default(true);
const square = (what: string) =>
  z
    .looseObject({ height: extent, width: extent })
    .refine(c => c.height === c.width, `the ${what} is not square`)
    .transform(c => c.height);
const channels = z.tuple([z.number(), z.number(), z.number()]);
const schema = z.looseObject({
  image_processor_type: z.string().nullish(),
  // A bare number is the old spelling of the shortest edge, and of a square crop.
  size: z
    .union([
      extent,
      z.looseObject({ shortest_edge: extent }).transform(s => s.shortest_edge),
      square('size').transform(squash => ({ squash })),
    ])
    .optional(),
  crop_size: z.union([extent, square('crop')]).nullish(),
  resample: z.literal([RESAMPLE.bilinear, RESAMPLE.bicubic], 'only bilinear (2) and bicubic (3) are known').default(3),
  do_resize: always,
  do_center_crop: z.boolean().nullish(),
  do_rescale: always,
  do_normalize: always,
  rescale_factor: z
    .number()
    .refine(f => Math.abs(f * 255 - 1) < 1e-6, 'the factor is not 1/255')
    .default(1 / 255),
  image_mean: channels.optional(),
  image_std: z.tuple([z.number().positive(), z.number().positive(), z.number().positive()]).optional(),
});

/**
 * Reads a parsed preprocessor_config.json; missing fields are CLIPImageProcessor's, or SiglipImageProcessor's where the file
 * names it.
 * @param imageSize the side of the images that the model takes, in pixels
 * @throws S3aError MODEL_CONFIG when images would be made in a way that is not known, or of another size
 */
export function parsePreprocess(json: unknown, imageSize: number, where = 'preprocessor_config.json'): Preprocess {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw bad(where, `${issue.path.join('.') || 'the file'}: ${issue.message}`);
  }
  const siglip = parsed.data.image_processor_type?.startsWith('Siglip') ?? false;
  const { size = siglip ? { squash: 224 } : 224, do_center_crop: cropped = !siglip, resample } = parsed.data;
  const mean = parsed.data.image_mean ?? (siglip ? SIGLIP_HALF : CLIP_MEAN);
  const std = parsed.data.image_std ?? (siglip ? SIGLIP_HALF : CLIP_STD);
  const squash = typeof size === 'object';
  const side = squash ? size.squash : size;
  const crop = cropped ? (parsed.data.crop_size ?? 224) : side;
  if (!squash && !cropped) throw bad(where, 'do_center_crop: images that are not square are not known');
  if (side !== imageSize || crop !== imageSize) {
    const sizes = cropped ? `size ${side} and crop_size ${crop} do` : `size ${side} does`;
    throw bad(where, `${sizes} not fit the model, which takes ${imageSize} pixels`);
  }
  return {
    size: side,
    mean: [...mean],
    std: [...std],
    ...(squash && { resize: 'squash' }),
    ...(resample === RESAMPLE.bilinear && { interpolation: 'bilinear' }),
  };
}

function bad(where: string, what: string): S3aError {
  return new S3aError('MODEL_CONFIG', `${where}: ${what}`);
}

/** The preprocessor_config.json that makes transformers do the same. */
export function preprocessJson({
  size,
  mean,
  std,
  resize,
  interpolation = 'bicubic',
}: Preprocess): Record<string, unknown> {
  const squash = resize === 'squash';
  return {
    ...(squash ? {} : { crop_size: { height: size, width: size }, do_center_crop: true }),
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: mean,
    image_processor_type: squash ? 'SiglipImageProcessor' : 'CLIPImageProcessor',
    image_std: std,
    resample: RESAMPLE[interpolation],
    rescale_factor: 1 / 255,
    size: squash ? { height: size, width: size } : { shortest_edge: size },
  };
}
