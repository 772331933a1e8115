/** The embedded default's architecture: a small residual image tower and a small text transformer. */
import { type ClipConfig, parseClipConfig } from '../src/clip/towers/config.ts';

/** Side of the images the tiny CLIP sees, in pixels. */
export const imageSize = 48;

/** Tokens a text may have; 99 % of the captions and all prompts of one word a name fit. */
export const textLength = 20;

/** Tokens of the tokenizer, special ones included. */
export const vocabularySize = 3072;

/** The configuration of the tiny CLIP, 1.6 M weights in the image tower and 0.8 M in the text tower. */
export function tinyClipConfig(startToken: number, endToken: number): ClipConfig {
  return parseClipConfig({
    model_type: 'clip',
    projection_dim: 128,
    // 1/0.07, where CLIP starts; it is learned.
    logit_scale_init_value: Math.log(1 / 0.07),
    text_config: {
      vocab_size: vocabularySize,
      hidden_size: 128,
      intermediate_size: 512,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      max_position_embeddings: textLength,
      hidden_act: 'quick_gelu',
      bos_token_id: startToken,
      eos_token_id: endToken,
    },
    vision_config: {
      model_type: 's3a_resnet',
      image_size: imageSize,
      stem_width: 64,
      stem_pool: true,
      widths: [64, 128, 256],
      blocks: [2, 1, 1],
      block: 'basic',
      pool: 'attention',
      num_attention_heads: 4,
    },
  });
}
