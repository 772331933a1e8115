/** Random weights for a new CLIP or SigLIP, as transformers draws them, and the layer each weight belongs to. */
import { sizeOf } from '../../engine/index.ts';
import { random } from '../../random.ts';
import type { ClipConfig } from './config.ts';
import type { Parameter } from './parameters.ts';

/**
 * Starting weights: normal with the deviations of transformers' CLIPPreTrainedModel and SiglipPreTrainedModel, those of CLIP's
 * AttentionPool2d for attention pooling, He's (fan in) for convolutions; the last batch norm of a residual block starts
 * at zero, as in CLIP, so that every block starts as the identity.
 * @param parameters of one or both towers
 * @param seed path of the generator; each weight has its own stream, keyed by its name
 */
export function initialise(
  config: ClipConfig,
  parameters: readonly Parameter[],
  seed: number,
): Record<string, Float32Array> {
  return Object.fromEntries(
    parameters.map(({ name, shape }) => {
      const data = new Float32Array(sizeOf(shape));
      const draw = distribution(config, name, shape);
      if (draw.deviation === 0) return [name, data.fill(draw.mean)];
      const source = random(seed, 'initialise', name);
      return [name, data.map(() => draw.mean + draw.deviation * source.normal())];
    }),
  );
}

interface Distribution {
  mean: number;
  deviation: number;
}

const normal = (deviation: number): Distribution => ({ mean: 0, deviation });

function distribution(config: ClipConfig, name: string, shape: readonly number[]): Distribution {
  if (config.model_type === 'siglip') return siglipDistribution(name, shape);
  if (name === 'logit_scale') return { mean: config.logit_scale_init_value, deviation: 0 };
  if (name.endsWith('bias')) return normal(0);
  if (isLastNorm(config, name)) return normal(0);
  if (/(norm\d?|layrnorm)\.weight$/.test(name)) return { mean: 1, deviation: 0 };
  if (shape.length === 4 && !name.includes('patch_embedding')) {
    return normal(Math.sqrt(2 / (shape[1] * shape[2] * shape[3])));
  }
  if (/token_embedding|text_model.*position_embedding/.test(name)) return normal(0.02);
  if (/(patch|position)_embedding/.test(name)) return normal(initializerRange(config));
  if (/class_embedding|positional_embedding|attnpool|out_proj|_projection/.test(name)) {
    return normal(shape[shape.length - 1] ** -0.5);
  }
  const tower = name.startsWith('text_model.') ? config.text_config : config.vision_config;
  const layers = 'num_hidden_layers' in tower ? (tower.num_hidden_layers as number) : 1;
  if (/fc1\.weight$/.test(name)) return normal((2 * shape[1]) ** -0.5);
  if (/fc2\.weight$/.test(name)) return normal((2 * layers * shape[0]) ** -0.5);
  return normal((2 * layers * shape[1]) ** -0.5);
}

/** SigLIP's: Xavier's within blocks and pooling head, the inverse root of the fan in elsewhere; scale and bias at zero. */
function siglipDistribution(name: string, shape: readonly number[]): Distribution {
  if (/norm\d?\.weight$/.test(name)) return { mean: 1, deviation: 0 };
  if (/fc[12]\.bias$/.test(name)) return normal(1e-6);
  if (/bias$|^logit_/.test(name)) return normal(0);
  if (name.includes('patch_embedding')) return normal((shape[1] * shape[2] * shape[3]) ** -0.5);
  const [fanOut, fanIn] = shape.slice(-2);
  if (/self_attn|fc[12]|in_proj/.test(name)) return normal(Math.sqrt(2 / (fanIn + fanOut)));
  return normal(fanIn ** -0.5);
}

function isLastNorm({ vision_config: vision }: ClipConfig, name: string): boolean {
  if (vision.model_type !== 's3a_resnet') return false;
  return name.endsWith(vision.block === 'basic' ? '.conv2.norm.weight' : '.conv3.norm.weight');
}

function initializerRange({ vision_config: vision }: ClipConfig): number {
  return vision.model_type === 'clip_vision_model' ? vision.initializer_range : 0.02;
}

/**
 * Layer of an image-tower weight for layer-wise decay (METHOD §3): 0 is the embedding (or stem), i + 1 is block i (or
 * stage i), and the count of blocks + 1 is everything after them.
 */
export function layerId(config: ClipConfig, name: string): number {
  if (/\.(embeddings|pre_layrnorm|stem)\b/.test(name)) return 0;
  const block = /\.(?:layers|stages)\.(\d+)\./.exec(name);
  return block ? Number(block[1]) + 1 : layerCount(config) + 1;
}

/** Number of blocks (or stages) of the image tower. */
export function layerCount({ vision_config: vision }: ClipConfig): number {
  return vision.model_type === 's3a_resnet' ? vision.widths.length : vision.num_hidden_layers;
}
