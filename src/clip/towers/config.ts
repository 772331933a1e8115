/**
 * config.json of CLIP and SigLIP in the Hugging Face layout: checked, bounded, with transformers' defaults for missing
 * fields.
 */
import { z } from 'zod';
import { S3aError } from '../../errors.ts';

const size = (limit: number) => z.int().min(1).max(limit);

/** transformers also writes square extents as [n, n]. */
const square = (limit: number) =>
  z.preprocess(value => (Array.isArray(value) && value[0] === value[1] ? value[0] : value), size(limit));

const encoder = {
  num_hidden_layers: size(256).default(12),
  hidden_act: z.enum(['quick_gelu', 'gelu', 'gelu_pytorch_tanh']).default('quick_gelu'),
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

const siglipEncoder = {
  num_hidden_layers: size(256).default(12),
  hidden_act: encoder.hidden_act.unwrap().default('gelu_pytorch_tanh'),
  layer_norm_eps: z.number().positive().default(1e-6),
  hidden_size: size(8192).default(768),
  intermediate_size: size(65536).default(3072),
  num_attention_heads: size(256).default(12),
};

const siglipTextSchema = z
  .looseObject({
    ...siglipEncoder,
    model_type: z.literal('siglip_text_model').default('siglip_text_model'),
    vocab_size: size(1_000_000).default(32000),
    max_position_embeddings: size(4096).default(64),
    projection_size: size(8192).nullish(),
  })
  .refine(c => c.hidden_size % c.num_attention_heads === 0, 'hidden_size is not a multiple of num_attention_heads');

const siglipVisionSchema = z
  .looseObject({
    ...siglipEncoder,
    model_type: z.literal('siglip_vision_model').default('siglip_vision_model'),
    num_channels: z.literal(3).default(3),
    image_size: square(2048).default(224),
    patch_size: square(256).default(16),
    vision_use_head: z.literal(true, 'without the attention pooling head a tower gives no embedding').optional(),
  })
  .refine(c => c.hidden_size % c.num_attention_heads === 0, 'hidden_size is not a multiple of num_attention_heads')
  .refine(c => c.image_size >= c.patch_size, 'the image is smaller than a patch');

const siglipSchema = z
  .looseObject({
    model_type: z.literal('siglip'),
    text_config: siglipTextSchema,
    vision_config: siglipVisionSchema,
  })
  // SigLIP projects no image: the embedding is as wide as the image tower.
  .transform((c): typeof c & { projection_dim: number } => ({ ...c, projection_dim: c.vision_config.hidden_size }))
  .refine(
    ({ text_config: text, projection_dim: width }) => (text.projection_size ?? text.hidden_size) === width,
    'the embeddings of texts (text_config.projection_size) and images (vision_config.hidden_size) differ in width',
  );

const clipSchema = z.looseObject({
  model_type: z.literal('clip').default('clip'),
  projection_dim: size(8192).default(512),
  logit_scale_init_value: z.number().default(2.6592),
  text_config: textSchema,
  vision_config: z.discriminatedUnion('model_type', [vitSchema, resnetSchema]),
});

/**
 * The configuration of a model, CLIP's or SigLIP's; `model_type` says whose. The fields are spelt as config.json spells them,
 * so that reading and writing are the same object; only SigLIP's `projection_dim`, the width of an embedding, is computed.
 */
export type ClipConfig = z.output<typeof clipSchema> | SiglipConfig;
export type SiglipConfig = z.output<typeof siglipSchema>;
export type TextConfig = z.output<typeof textSchema>;
export type SiglipTextConfig = z.output<typeof siglipTextSchema>;
export type VitConfig = z.output<typeof vitSchema>;
export type SiglipVisionConfig = z.output<typeof siglipVisionSchema>;
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

const KNOWN = "Known are CLIP (transformers' CLIPModel, or with the s3a_resnet image tower) and SigLIP (SiglipModel).";

/**
 * Checks a parsed config.json and fills in transformers' defaults.
 *
 * `text_config_dict` and `vision_config_dict`, which old files of CLIP carry, win over the plain ones as in transformers.
 * @param json the parsed file
 * @param where the file's name, for messages
 * @throws S3aError MODEL_CONFIG that names the first field that is not as CLIP or SigLIP has it
 */
export function parseClipConfig(json: unknown, where = 'config.json'): ClipConfig {
  const raw = z.record(z.string(), z.unknown()).safeParse(json);
  if (!raw.success) throw new S3aError('MODEL_CONFIG', `${where} is not a JSON object`);
  if (raw.data.model_type === 'siglip2') {
    throw new S3aError(
      'MODEL_CONFIG',
      `${where}: model_type = "siglip2": a NaFlex model, whose images have no fixed size, is not known`,
      "SigLIP2 checkpoints of a fixed resolution have the model_type 'siglip'; use one of those.",
    );
  }
  const { text_config_dict, vision_config_dict, ...rest } = raw.data;
  const given = {
    ...rest,
    text_config: text_config_dict ?? rest.text_config ?? {},
    vision_config: vision_config_dict ?? rest.vision_config ?? {},
  };
  const parsed = rest.model_type === 'siglip' ? siglipSchema.safeParse(given) : parseClip(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue.path.join('.');
  const value = issue.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    given,
  );
  const found = path ? `${path} = ${String(JSON.stringify(value)).slice(0, 80)}` : 'the file';
  throw new S3aError('MODEL_CONFIG', `${where}: ${found}: ${issue.message}`, KNOWN);
}

/** A discriminated union needs its key, which files written by transformers may leave out. */
function parseClip(given: Record<string, unknown>): ReturnType<typeof clipSchema.safeParse> {
  const vision = z.looseObject({}).safeParse(given.vision_config);
  return clipSchema.safeParse({
    ...given,
    ...(vision.success ? { vision_config: { model_type: 'clip_vision_model', ...vision.data } } : {}),
  });
}

/** The text of config.json. Whole numbers in float fields get their point, because transformers 5 refuses 1 for 1.0. */
export function clipConfigText(config: ClipConfig): string {
  const { projection_dim, ...rest } = config;
  const written = config.model_type === 'siglip' ? rest : config;
  const floats = 'initializer_factor|initializer_range|layer_norm_eps|attention_dropout|logit_scale_init_value';
  const whole = new RegExp(`("(?:${floats})": -?\\d+)(?=[,\\n])`, 'g');
  return `${JSON.stringify(written, null, 2).replace(whole, '$1.0')}\n`;
}
