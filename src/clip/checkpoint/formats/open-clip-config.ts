/** model_cfg of open_clip for the models that transformers' CLIPModel can express; each other field is named and refused. */
import { z } from 'zod';
import { S3aError } from '../../../errors.ts';
import { type ClipConfig, parseClipConfig } from '../../towers/config.ts';

/** A plain CLIP as open_clip describes it, in our terms. */
export interface OpenClipModel {
  readonly config: ClipConfig;
  /** Towers whose layer norms have no bias. */
  readonly biasless: readonly ('vision' | 'text')[];
  /** Name of the tokenizer on the hub, when it is said. */
  readonly tokenizer?: string;
}

const count = z.int().min(1);
const never = (what: string) => z.never(what).optional();
const off = (what: string) => z.literal(false, what).optional();
const unused = z.unknown().optional();

// What both towers can be told; the custom block with all of its extras off computes what the plain one does.
const blocks = {
  width: count,
  layers: z.int('only vision transformers are known, no ResNet').min(1).default(12),
  mlp_ratio: z.number().positive().default(4),
  ls_init_value: never('layer scale is not known'),
  act_kwargs: z.strictObject({ approximate: z.enum(['none', 'tanh']).optional() }).optional(),
  norm_kwargs: z.strictObject({ eps: z.number().positive().optional(), bias: z.boolean().optional() }).optional(),
  block_type: z.enum(['default', 'custom']).optional(),
  qk_norm: off('norms of queries and keys are not known'),
  scaled_cosine_attn: off('cosine attention is not known'),
  scale_heads: off('scaled heads are not known'),
  scale_attn_inner: off('a norm inside the attention is not known'),
  scale_attn: off('a norm after the attention is not known'),
  scale_fc: off('a norm inside the MLP is not known'),
  // The towers here give the pooled vector alone.
  output_tokens: unused,
};

const visionSchema = z.strictObject({
  ...blocks,
  width: count.default(768),
  head_width: count.default(64),
  patch_size: z.union([count, z.tuple([count, count])]).default(16),
  image_size: z.union([count, z.tuple([count, count])]).default(224),
  attentional_pool: off('attentional pooling (CoCa) is not known'),
  no_ln_pre: off('a tower without its first norm is not known'),
  // Both kinds are saved as a table.
  pos_embed_type: z.enum(['learnable', 'sin_cos_2d']).optional(),
  pool_type: z.literal('tok', "only pooling by the class token ('tok') is known").optional(),
  timm_model_name: never('image towers of timm are known for SigLIP only'),
  // The norm works token by token, so its place before or after the pooling is the same.
  final_ln_after_pool: unused,
  // For training, and for towers that are refused above.
  patch_dropout: unused,
  attn_pooler_queries: unused,
  attn_pooler_heads: unused,
  timm_model_pretrained: unused,
  timm_pool: unused,
  timm_proj: unused,
  timm_proj_bias: unused,
  timm_drop: unused,
  timm_drop_path: unused,
});

const textSchema = z.strictObject({
  ...blocks,
  width: count.default(512),
  heads: count.default(8),
  context_length: count.default(77),
  vocab_size: count.default(49408),
  hf_model_name: never('text towers of transformers are not known'),
  hf_tokenizer_name: z.string().optional(),
  tokenizer_mode: never('a tokenizer mode is not known'),
  tokenizer_kwargs: z.strictObject({ clean: z.enum(['whitespace', 'lower']).optional() }).optional(),
  embed_cls: off('a class token in the text (CoCa) is not known'),
  no_causal_mask: off('text that looks ahead is not known'),
  final_ln_after_pool: unused,
  pool_type: z.literal('argmax', "only pooling at the end of the text ('argmax') is known").optional(),
  proj_type: z.literal('linear', "only 'linear' is known").optional(),
  proj_bias: off('a text projection with a bias is not known'),
  // For poolings that are refused above.
  pad_id: unused,
  eos_id: unused,
  hf_model_pretrained: unused,
  hf_proj_type: unused,
  hf_pooler_type: unused,
});

const modelSchema = z.strictObject({
  embed_dim: count,
  vision_cfg: visionSchema,
  text_cfg: textSchema,
  quick_gelu: z.boolean().default(false),
  multimodal_cfg: never('CoCa is not known'),
  // Where the text tower's weights are is read from their names.
  custom_text: unused,
  init_logit_scale: unused,
  init_logit_bias: unused,
  nonscalar_logit_scale: unused,
  cast_dtype: unused,
  output_dict: unused,
});

/**
 * Translates a parsed `model_cfg`.
 * @param where the file, or what else the configuration is from, for messages
 * @param quickGelu instead of the configuration's `quick_gelu`
 * @throws S3aError MODEL_CONFIG that names the first field, with its value, that CLIPModel has no equal for
 */
export function openClipModel(json: unknown, where: string, quickGelu?: boolean): OpenClipModel {
  const given = withoutNulls(json);
  const parsed = modelSchema.safeParse(given);
  if (!parsed.success) throw refusal(parsed.error.issues[0], given, where);
  const { embed_dim: dimension, vision_cfg: vision, text_cfg: text, quick_gelu } = parsed.data;
  const quick = quickGelu ?? quick_gelu;
  const encoder = ({
    width,
    layers,
    mlp_ratio: ratio,
    act_kwargs: act,
    norm_kwargs: norms,
  }: typeof text | typeof vision) => ({
    hidden_size: width,
    intermediate_size: Math.trunc(width * ratio),
    num_hidden_layers: layers,
    hidden_act: quick ? 'quick_gelu' : act?.approximate === 'tanh' ? 'gelu_pytorch_tanh' : 'gelu',
    layer_norm_eps: norms?.eps ?? 1e-5,
  });
  const config = parseClipConfig(
    {
      model_type: 'clip',
      projection_dim: dimension,
      text_config: {
        ...encoder(text),
        num_attention_heads: text.heads,
        vocab_size: text.vocab_size,
        max_position_embeddings: text.context_length,
        bos_token_id: 0,
        // transformers pools at the largest id, as 'argmax' does, when the end token is said to be 2.
        eos_token_id: 2,
      },
      vision_config: {
        ...encoder(vision),
        num_attention_heads: Math.max(Math.floor(vision.width / vision.head_width), 1),
        image_size: vision.image_size,
        patch_size: vision.patch_size,
      },
    },
    where,
  );
  const biasless = (
    [
      ['vision', vision],
      ['text', text],
    ] as const
  )
    .filter(([, tower]) => tower.norm_kwargs?.bias === false)
    .map(([name]) => name);
  return { config, biasless, ...(text.hf_tokenizer_name ? { tokenizer: text.hf_tokenizer_name } : {}) };
}

function refusal(issue: z.core.$ZodIssue, given: unknown, where: string): S3aError {
  // The first unknown field stands for all.
  const unknown = issue.code === 'unrecognized_keys' ? [issue.keys[0]] : [];
  const path = [...issue.path, ...unknown];
  const value = path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    given,
  );
  const what = unknown.length > 0 ? 'no field that is known' : issue.message;
  return new S3aError(
    'MODEL_CONFIG',
    `${where}: ${['model_cfg', ...path].join('.')} = ${shown(value)}: ${what}`,
    "Of open_clip's models those are known whose two towers are CLIP's: a plain vision transformer and a causal text transformer.",
  );
}

/** The beginning of a value's JSON. */
function shown(value: unknown): string {
  try {
    return String(JSON.stringify(value)).slice(0, 80);
  } catch {
    // A hostile file may nest deeper than the stack.
    return '…';
  }
}

// model_cfg, a tower, its keyword arguments.
const DEPTH = 3;

/** None of open_clip's fields means anything by being null: it is its default. */
function withoutNulls(json: unknown, depth = DEPTH): unknown {
  if (typeof json !== 'object' || json === null || Array.isArray(json) || depth === 0) return json;
  return Object.fromEntries(
    Object.entries(json)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => [key, withoutNulls(value, depth - 1)]),
  );
}
