/** SigLIP as open_clip keeps it: an image tower of timm's with joined projections, and a text tower of open_clip's own. */
import { z } from 'zod';
import { sizeOf } from '../../../engine/shape.ts';
import { S3aError } from '../../../errors.ts';
import type { TensorFile } from '../../../io/tensor-file.ts';
import { withCanonicalForm } from '../../tokenizer/canonical.ts';
import { readSiglipTokenizer } from '../../tokenizer/siglip-files.ts';
import { type ClipConfig, parseClipConfig } from '../../towers/config.ts';
import type { ModelSource, WeightSource } from '../source.ts';
import type { OpenClipFiles } from './open-clip.ts';
import { openClipPreprocess } from './open-clip-preprocess.ts';
import { openWeightsFile, peek } from './weights-file.ts';

const count = z.int().min(1);
const unused = z.unknown().optional();
const visionSchema = z.strictObject({
  image_size: z.union([count, z.tuple([count, count])]),
  timm_model_name: z.string(),
  timm_pool: z.literal('map', "only attention pooling ('map') is known"),
  timm_proj: z.literal('none', 'a projection after the image tower is not known').optional(),
  timm_model_pretrained: unused,
  timm_drop: unused,
  timm_drop_path: unused,
});
const textSchema = z.strictObject({
  context_length: count.default(77),
  vocab_size: count.default(49408),
  width: count.default(512),
  heads: count.default(8),
  layers: count.default(12),
  mlp_ratio: z.number().positive().default(4),
  hf_tokenizer_name: unused,
  tokenizer_kwargs: z.strictObject({ clean: z.literal('canonicalize', "only 'canonicalize' is known") }),
  no_causal_mask: z.literal(true, 'SigLIP has no causal mask'),
  proj_type: z.literal('linear', 'a text tower without its linear head is not known').optional(),
  proj_bias: z.literal(true, 'SigLIP has a head with a bias'),
  pool_type: z.literal('last', 'SigLIP pools the last position'),
  norm_kwargs: z.strictObject({ eps: z.number().positive() }).default({ eps: 1e-5 }),
  act_kwargs: z.strictObject({ approximate: z.enum(['none', 'tanh']) }).default({ approximate: 'none' }),
});
const modelSchema = z.strictObject({
  embed_dim: count,
  vision_cfg: visionSchema,
  text_cfg: textSchema,
  quick_gelu: z.literal(false, 'SigLIP has no QuickGELU').optional(),
  custom_text: unused,
  init_logit_scale: unused,
  init_logit_bias: unused,
  nonscalar_logit_scale: unused,
});
type OpenClipSiglip = z.output<typeof modelSchema>;

const TRUNK = 'visual.trunk.';
const POOL = `${TRUNK}attn_pool.`;

/**
 * A SigLIP of open_clip; undefined for a model whose image tower is none of timm's SigLIPs.
 * @throws S3aError MODEL_CONFIG for a field that SiglipModel has no equal for, TOKENIZER, and what the file of weights throws
 */
export async function openClipSiglip(files: OpenClipFiles): Promise<ModelSource | undefined> {
  const { model, preprocess, where, weights, identity, notes } = files;
  const named = z.looseObject({ vision_cfg: z.looseObject({ timm_model_name: z.string() }) }).safeParse(model);
  if (!named.success || !named.data.vision_cfg.timm_model_name.includes('siglip')) return undefined;
  const parsed = modelSchema.safeParse(model);
  if (!parsed.success) throw refusal(parsed.error.issues[0], where);
  const config = await peek(weights, file => siglipConfig(parsed.data, file, where));
  const size = config.vision_config.image_size;
  const { tokenizerFiles, tokenizerPlace, path, configPath } = await readSiglipTokenizer(files.tokenizerFolder);
  return {
    config,
    preprocess: openClipPreprocess(preprocess, size, where),
    tokenizerFiles: withCanonicalForm(tokenizerFiles),
    tokenizerPlace,
    identity: [...identity, path, ...(configPath ? [configPath] : [])],
    notes,
    openWeights: async () => joined(await openWeightsFile(weights)),
    locate: name => locate(config, name),
    isExtra: () => false,
  };
}

function refusal(issue: z.core.$ZodIssue, where: string): S3aError {
  const unknown = issue.code === 'unrecognized_keys' ? [issue.keys[0]] : [];
  const what = unknown.length > 0 ? 'no field that is known of a SigLIP' : issue.message;
  return new S3aError('MODEL_CONFIG', `${where}: ${['model_cfg', ...issue.path, ...unknown].join('.')}: ${what}`);
}

/** timm's name says the heads and the activation; all sizes are those of the weights. */
function siglipConfig(
  { embed_dim, vision_cfg: vision, text_cfg: text }: OpenClipSiglip,
  file: TensorFile,
  where: string,
) {
  const name = vision.timm_model_name;
  const [, size, patch, side] = /^vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)(?:\.\w+)?$/.exec(name) ?? [];
  if (size === undefined) {
    throw new S3aError('MODEL_CONFIG', `${where}: model_cfg.vision_cfg.timm_model_name = "${name}": not known`);
  }
  // timm 1.0: the towers that were added with SigLIP2 have the approximate GELU, the older ones do not.
  const approximate =
    size === 'giantopt' ||
    patch === '32' ||
    (size === 'so400m' && patch === '16') ||
    (size === 'large' && side === '512');
  const extents = (tensor: string, rank: number): readonly number[] => {
    const shape = file.has(tensor) ? file.info(tensor).shape : [];
    if (shape.length === rank) return shape;
    throw new S3aError('WEIGHTS', `${file.path} has no ${tensor} of ${rank} axes`, 'The file is of another model.');
  };
  const [width, , patchSize] = extents(`${TRUNK}patch_embed.proj.weight`, 4);
  const [inner] = extents(`${TRUNK}blocks.0.mlp.fc1.weight`, 2);
  const layers = file.names.filter(tensor => /^visual\.trunk\.blocks\.\d+\.norm1\.weight$/.test(tensor)).length;
  return parseClipConfig(
    {
      model_type: 'siglip',
      text_config: {
        vocab_size: text.vocab_size,
        max_position_embeddings: text.context_length,
        hidden_size: text.width,
        intermediate_size: Math.trunc(text.width * text.mlp_ratio),
        num_hidden_layers: text.layers,
        num_attention_heads: text.heads,
        hidden_act: text.act_kwargs.approximate === 'tanh' ? 'gelu_pytorch_tanh' : 'gelu',
        layer_norm_eps: text.norm_kwargs.eps,
        projection_size: embed_dim,
      },
      vision_config: {
        image_size: vision.image_size,
        patch_size: patchSize,
        hidden_size: width,
        intermediate_size: inner,
        num_hidden_layers: layers,
        num_attention_heads: size === 'base' ? 12 : 16,
        hidden_act: approximate ? 'gelu_pytorch_tanh' : 'gelu',
        layer_norm_eps: 1e-6,
      },
    },
    where,
  );
}

/** The query of timm's pooling above its key and value, as transformers has them; scale and bias as lists of one. */
function joined(file: TensorFile): TensorFile {
  const parts = new Map(
    ['weight', 'bias'].map(kind => [`${POOL}in_proj_${kind}`, [`${POOL}q.${kind}`, `${POOL}kv.${kind}`]]),
  );
  const inner = new Set([...parts.values()].flat());
  const whole = (name: string): readonly string[] | undefined => {
    const names = parts.get(name);
    return names?.every(part => file.has(part)) ? names : undefined;
  };
  const scalar = (name: string): boolean => name === 'logit_scale' || name === 'logit_bias';
  const info = (name: string): { dtype: string; shape: number[] } => {
    const [first, ...rest] = (whole(name) ?? [name]).map(part => file.info(part));
    const shape = scalar(name) && first.shape.length === 0 ? [1] : [...first.shape];
    for (const more of rest) {
      // Rows of another width fit nowhere, and their shape says so.
      if (more.shape.slice(1).join() !== shape.slice(1).join()) return more;
      shape[0] += more.shape[0];
    }
    return { dtype: first.dtype, shape };
  };
  return {
    path: file.path,
    names: [...file.names.filter(name => !inner.has(name)), ...[...parts.keys()].filter(whole)],
    has: name => whole(name) !== undefined || (!inner.has(name) && file.has(name)),
    info,
    async readFloat32(name) {
      const names = whole(name);
      if (!names) return file.readFloat32(name);
      const data = new Float32Array(sizeOf(info(name).shape));
      let at = 0;
      for (const part of names) {
        const values = await file.readFloat32(part);
        data.set(values, at);
        at += values.length;
      }
      return data;
    },
    close: file.close,
  };
}

const BLOCK: Readonly<Record<'vision' | 'text', Readonly<Record<string, string>>>> = {
  vision: {
    layer_norm1: 'norm1',
    layer_norm2: 'norm2',
    'self_attn.out_proj': 'attn.proj',
    'mlp.fc1': 'mlp.fc1',
    'mlp.fc2': 'mlp.fc2',
  },
  text: {
    layer_norm1: 'ln_1',
    layer_norm2: 'ln_2',
    'self_attn.out_proj': 'attn.out_proj',
    'mlp.fc1': 'mlp.c_fc',
    'mlp.fc2': 'mlp.c_proj',
  },
};

const PLAIN: Readonly<Record<string, string>> = {
  'vision_model.embeddings.patch_embedding': `${TRUNK}patch_embed.proj`,
  'vision_model.post_layernorm': `${TRUNK}norm`,
  'vision_model.head.attention.out_proj': `${POOL}proj`,
  'vision_model.head.layernorm': `${POOL}norm`,
  'vision_model.head.mlp.fc1': `${POOL}mlp.fc1`,
  'vision_model.head.mlp.fc2': `${POOL}mlp.fc2`,
  'text_model.embeddings.token_embedding': 'text.token_embedding',
  'text_model.final_layer_norm': 'text.ln_final',
  'text_model.head': 'text.text_projection',
};

/** Where open_clip keeps a weight of SiglipModel. */
function locate(config: ClipConfig, name: string): WeightSource {
  if (name === 'logit_scale' || name === 'logit_bias') return { name };
  if (name === 'vision_model.embeddings.position_embedding.weight')
    return { name: `${TRUNK}pos_embed`, squeezed: true };
  if (name === 'text_model.embeddings.position_embedding.weight') return { name: 'text.positional_embedding' };
  if (name === 'vision_model.head.probe') return { name: `${POOL}latent` };
  if (name.startsWith('vision_model.head.attention.in_proj_')) {
    return { name: name.replace('vision_model.head.attention.', POOL) };
  }
  const [, module, kind] = /^(.+)\.(weight|bias)$/.exec(name) ?? [];
  const [, tower, layer, part] = /^(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)$/.exec(module ?? '') ?? [];
  if (part !== undefined) {
    const vision = tower === 'vision';
    const at = vision ? `${TRUNK}blocks.${layer}.` : `text.transformer.resblocks.${layer}.`;
    const third = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'].indexOf(part);
    if (third < 0) return { name: `${at}${BLOCK[vision ? 'vision' : 'text'][part]}.${kind}` };
    const width = vision ? config.projection_dim : config.text_config.hidden_size;
    const fused = vision ? `attn.qkv.${kind}` : `attn.in_proj_${kind}`;
    return { name: `${at}${fused}`, rows: [third * width, (third + 1) * width] };
  }
  if (!Object.hasOwn(PLAIN, module ?? ''))
    throw new S3aError('WEIGHTS', `open_clip has no place for the weight ${name}`);
  return { name: `${PLAIN[module]}.${kind}` };
}
