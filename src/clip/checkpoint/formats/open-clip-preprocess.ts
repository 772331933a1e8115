/** preprocess_cfg of open_clip, said as a preprocessor_config.json of transformers. */
import { z } from 'zod';
import { S3aError } from '../../../errors.ts';
import { CLIP_MEAN, CLIP_STD, type Preprocess, parsePreprocess } from '../../preprocess.ts';

// One number stands for three channels.
const channels = (value: z.ZodNumber) => z.union([value.transform(v => [v, v, v]), z.array(value).length(3)]);
const schema = z.looseObject({
  size: z.union([z.int(), z.array(z.int()).length(2)]).nullish(),
  mode: z.literal('RGB', "only 'RGB' is known").nullish(),
  mean: channels(z.number()).nullish(),
  std: channels(z.number().positive()).nullish(),
  // Random is for training; images are embedded with bicubic then.
  interpolation: z.enum(['bicubic', 'bilinear', 'random']).nullish(),
  resize_mode: z.enum(['shortest', 'squash'], "only 'shortest' and 'squash' are known").nullish(),
});

const RESAMPLE = { bicubic: 3, bilinear: 2, random: 3 };

/**
 * The preprocessor_config.json that makes transformers' CLIPImageProcessor do what open_clip does for evaluation. Missing fields
 * are open_clip's defaults.
 * @param imageSize of the model, which counts more than `size`, as in open_clip
 * @throws S3aError MODEL_CONFIG for what no image processor does
 */
function preprocessOfOpenClip(json: unknown, imageSize: number, where: string): Record<string, unknown> {
  const parsed = schema.safeParse(json ?? {});
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    const value = (json as Record<string, unknown>)[String(path[0])];
    const at = ['preprocess_cfg', ...path].join('.');
    throw new S3aError('MODEL_CONFIG', `${where}: ${at} = ${String(JSON.stringify(value)).slice(0, 80)}: ${message}`);
  }
  const { mean, std, interpolation, resize_mode: mode } = parsed.data;
  const square = { height: imageSize, width: imageSize };
  return {
    do_center_crop: mode !== 'squash',
    crop_size: square,
    size: mode === 'squash' ? square : { shortest_edge: imageSize },
    resample: RESAMPLE[interpolation ?? 'bicubic'],
    image_mean: mean ?? CLIP_MEAN,
    image_std: std ?? CLIP_STD,
  };
}

/** How open_clip's evaluation transform prepares images: its centre crop is torchvision's. Throws S3aError MODEL_CONFIG. */
export function openClipPreprocess(json: unknown, imageSize: number, where: string): Preprocess {
  const parsed = parsePreprocess(preprocessOfOpenClip(json, imageSize, where), imageSize, where);
  return parsed.resize === 'squash' ? parsed : { ...parsed, crop: 'torchvision' };
}
