/** CLIP's config.json in the Hugging Face layout: checked, bounded, with transformers' defaults for missing fields. */
import { z } from 'zod';
import { S3aError } from '../../errors.ts';

const size = (limit: number) => z.int().min(1).max(limit);

/** transformers also writes square extents as [n, n]. */
const square = (limit: number) =>
  z.preprocess(value => (Array.isArray(value) && value[0] === value[1] ? value[0] : value), size(limit));

const encoder = {
  num_hidden_layers: size(256).default(12),
  hidden_act: z.enum(['quick_gelu', 'gelu']).default('quick_gelu'),
  layer_norm_eps: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
};

const textSchema = z
  .looseObject({
    ...encoder,
    vocab_size: size(1_000_000).default(49408),
    hidden_size: size(8192).default(512),
    intermediate_size: size(65536).default(2048),
    num_attention_heads: size(256).default(8),
    max_position_embeddings: size(4096).default(77),
    bos_token_id: z.int().min(0).default(49406),
    eos_token_id: z.int().min(0).default(49407),
  })
  .refine(c => c.hidden_size % c.num_attention_heads === 0, 'hidden_size is not a multiple of num_attention_heads');

const vitSchema = z
  .looseObject({
    ...encoder,
    model_type: z.literal('clip_vision_model').default('clip_vision_model'),
    hidden_size: size(8192).default(768),
    intermediate_size: size(65536).default(3072),
    num_attention_heads: size(256).default(12),
    num_channels: z.literal(3).default(3),
    image_size: square(2048).default(224),
    patch_size: square(256).default(32),
  })
  .refine(c => c.hidden_size % c.num_attention_heads === 0, 'hidden_size is not a multiple of num_attention_heads')
  .refine(c => c.image_size % c.patch_size === 0, 'image_size is not a multiple of patch_size');

const resnetSchema = z
  .looseObject({
    model_type: z.literal('s3a_resnet'),
    image_size: square(2048),
    stem_width: size(1024),
    /** Whether the stem ends in a 2×2 average pool, as in CLIP. */
    stem_pool: z.boolean().default(true),
    /** Channels of each stage; a bottleneck's output has four times as many. */
    widths: z.array(size(4096)).min(1).max(8),
    /** Blocks of each stage; every stage but the first halves the image. */
    blocks: z.array(size(64)).min(1).max(8),
    block: z.enum(['basic', 'bottleneck']),
    pool: z.enum(['attention', 'mean']),
    num_attention_heads: size(256).default(8),
    batch_norm_eps: z.number().positive().default(1e-5),
  })
  .refine(c => c.stem_width % 2 === 0, 'stem_width is odd')
  .refine(c => c.widths.length === c.blocks.length, 'widths and blocks differ in length')
  .refine(c => resnetWidth(c) % c.num_attention_heads === 0, 'the last width is not a multiple of num_attention_heads')
  .refine(
    c => c.image_size % 2 ** (c.widths.length + (c.stem_pool ? 1 : 0)) === 0,
    'image_size cannot be halved by the stem and by every stage',
  );

const clipSchema = z.looseObject({
  model_type: z.literal('clip').default('clip'),
  projection_dim: size(8192).default(512),
  logit_scale_init_value: z.number().default(2.6592),
  text_config: textSchema,
  vision_config: z.discriminatedUnion('model_type', [vitSchema, resnetSchema]),
});

/** The fields are spelt as config.json spells them, so that reading and writing are the same object. */
export type ClipConfig = z.output<typeof clipSchema>;
export type TextConfig = ClipConfig['text_config'];
export type VitConfig = z.output<typeof vitSchema>;
export type ResnetConfig = z.output<typeof resnetSchema>;
/** What a transformer stack of either tower reads. */
export type EncoderConfig = Pick<
  TextConfig,
  'num_hidden_layers' | 'hidden_act' | 'layer_norm_eps' | 'hidden_size' | 'intermediate_size' | 'num_attention_heads'
>;

/** Channels that a residual tower ends with. */
export function resnetWidth(config: { widths: readonly number[]; block: string }): number {
  return config.widths[config.widths.length - 1] * (config.block === 'bottleneck' ? 4 : 1);
}

/**
 * Checks a parsed config.json and fills in transformers' defaults.
 *
 * `text_config_dict` and `vision_config_dict`, which old files carry, win over the plain ones as in transformers.
 * @param json the parsed file
 * @param where the file's name, for messages
 * @throws S3aError MODEL_CONFIG that names the first field that is not as CLIP has it
 */
export function parseClipConfig(json: unknown, where = 'config.json'): ClipConfig {
  const raw = z.record(z.string(), z.unknown()).safeParse(json);
  if (!raw.success) throw new S3aError('MODEL_CONFIG', `${where} is not a JSON object`);
  const { text_config_dict, vision_config_dict, ...rest } = raw.data;
  const vision = z.looseObject({}).safeParse(vision_config_dict ?? rest.vision_config ?? {});
  const parsed = clipSchema.safeParse({
    ...rest,
    text_config: text_config_dict ?? rest.text_config ?? {},
    // A discriminated union needs its key, which files written by transformers may leave out.
    vision_config: vision.success ? { model_type: 'clip_vision_model', ...vision.data } : vision_config_dict,
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue.path.join('.');
  const value = issue.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    rest,
  );
  throw new S3aError(
    'MODEL_CONFIG',
    `${where}: ${path || 'the file'} = ${JSON.stringify(value)}: ${issue.message}`,
    'only CLIP models are known: two towers as transformers has them in CLIPModel, or the s3a_resnet image tower',
  );
}

/** The text of config.json. Whole numbers in float fields get their point, because transformers 5 refuses 1 for 1.0. */
export function clipConfigText(config: ClipConfig): string {
  const floats = 'initializer_factor|initializer_range|layer_norm_eps|attention_dropout|logit_scale_init_value';
  const whole = new RegExp(`("(?:${floats})": -?\\d+)(?=[,\\n])`, 'g');
  return `${JSON.stringify(config, null, 2).replace(whole, '$1.0')}\n`;
}
