import { describe, expect, test } from 'vitest';
import { parsePreprocess, preprocessJson } from '../preprocess.ts';
import { clipConfigText, parseClipConfig, resnetWidth } from './config.ts';

const RESNET = {
  model_type: 's3a_resnet',
  image_size: 48,
  stem_width: 32,
  widths: [64, 128],
  blocks: [1, 1],
  block: 'bottleneck',
  pool: 'mean',
};

describe('config.json', () => {
  test('missing fields are those of transformers', () => {
    const config = parseClipConfig({ model_type: 'clip' });
    expect(config).toMatchObject({ projection_dim: 512, logit_scale_init_value: 2.6592 });
    expect(config.text_config).toMatchObject({
      vocab_size: 49408,
      hidden_size: 512,
      intermediate_size: 2048,
      num_hidden_layers: 12,
      num_attention_heads: 8,
      max_position_embeddings: 77,
      hidden_act: 'quick_gelu',
      eos_token_id: 49407,
    });
    expect(config.vision_config).toMatchObject({
      model_type: 'clip_vision_model',
      hidden_size: 768,
      intermediate_size: 3072,
      patch_size: 32,
      image_size: 224,
      layer_norm_eps: 1e-5,
    });
  });

  test('the old text_config_dict and vision_config_dict win, and are not written again', () => {
    const config = parseClipConfig({
      text_config: { hidden_size: 64, eos_token_id: 2 },
      text_config_dict: { hidden_size: 1024, num_attention_heads: 16 },
      vision_config: { image_size: [32, 32], patch_size: 8 },
      vision_config_dict: null,
    });
    expect(config.text_config).toMatchObject({ hidden_size: 1024, eos_token_id: 49407 });
    expect(config.vision_config.image_size).toBe(32);
    expect(Object.keys(config)).not.toContain('text_config_dict');
    expect(parseClipConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
  });

  test('whole numbers in float fields are written with a point, as transformers wants them', () => {
    const text = clipConfigText(
      parseClipConfig({ initializer_factor: 1, text_config: { attention_dropout: 0, pad_token_id: 1 } }),
    );
    expect(text).toMatch(/"initializer_factor": 1\.0[,\n]/);
    expect(text).toMatch(/"attention_dropout": 0\.0[,\n]/);
    expect(text).toMatch(/"pad_token_id": 1[,\n]/);
    expect(text).toMatch(/"logit_scale_init_value": 2\.6592[,\n]/);
  });

  test('the residual tower', () => {
    const { vision_config: vision } = parseClipConfig({ vision_config: RESNET });
    expect(vision).toMatchObject({ stem_pool: true, batch_norm_eps: 1e-5 });
    expect(resnetWidth({ widths: [64, 128], block: 'bottleneck' })).toBe(512);
  });

  test("SigLIP's missing fields, an embedding as wide as the image tower, and what is written is read", () => {
    const config = parseClipConfig({ model_type: 'siglip' });
    expect(config.projection_dim).toBe(768);
    expect(config.text_config).toMatchObject({ vocab_size: 32000, max_position_embeddings: 64, layer_norm_eps: 1e-6 });
    expect(config.vision_config).toMatchObject({ patch_size: 16, image_size: 224, hidden_act: 'gelu_pytorch_tanh' });
    const written = JSON.parse(clipConfigText(config));
    expect(Object.keys(written)).toEqual(['model_type', 'text_config', 'vision_config']);
    expect(parseClipConfig(written)).toEqual(config);
    const wide = { hidden_size: 1536, num_attention_heads: 16 };
    const giant = { model_type: 'siglip', vision_config: wide, text_config: { projection_size: 1536 } };
    expect(parseClipConfig(giant).projection_dim).toBe(1536);
  });

  test.each([
    [[], 'not a JSON object'],
    [{ model_type: 'align' }, 'model_type = "align"'],
    [{ vision_config: { model_type: 'dinov2' } }, 'vision_config.model_type = "dinov2"'],
    [{ vision_config: 7 }, 'vision_config'],
    [{ text_config: { hidden_act: 'relu' } }, 'text_config.hidden_act = "relu"'],
    [{ text_config: { hidden_size: 100, num_attention_heads: 8 } }, 'not a multiple of num_attention_heads'],
    [{ vision_config: { image_size: 225, patch_size: 32 } }, 'not a multiple of patch_size'],
    [{ vision_config: { image_size: [224, 448] } }, 'vision_config.image_size'],
    [{ text_config: { vocab_size: 1e12 } }, 'text_config.vocab_size'],
    [{ vision_config: { num_channels: 1 } }, 'vision_config.num_channels'],
    [{ vision_config: { ...RESNET, image_size: 50 } }, 'cannot be halved'],
    [{ vision_config: { ...RESNET, blocks: [1] } }, 'differ in length'],
    [{ model_type: 'siglip2' }, 'a NaFlex model'],
    [{ model_type: 'siglip', vision_config: { hidden_size: 384, num_attention_heads: 6 } }, 'differ in width'],
    [{ model_type: 'siglip', vision_config: { vision_use_head: false } }, 'vision_config.vision_use_head = false'],
    [{ model_type: 'siglip', vision_config: { model_type: 'siglip2_vision_model' } }, 'vision_config.model_type'],
    [{ model_type: 'siglip', text_config: { hidden_act: 'relu' } }, 'text_config.hidden_act = "relu"'],
    [{ model_type: 'siglip', vision_config: { image_size: 8 } }, 'smaller than a patch'],
  ])('%j is one clear line', (json, message) => {
    const read = () => parseClipConfig(json, 'model/config.json');
    expect(read).toThrow(message);
    expect(read).toThrow(/^model\/config\.json[^\n]*$/);
  });
});

describe('preprocessor_config.json', () => {
  test('old and new spellings, and what is written is read', () => {
    expect(parsePreprocess({}, 224).mean[0]).toBeCloseTo(0.48145466);
    expect(
      parsePreprocess({ size: 224, crop_size: 224, feature_extractor_type: 'CLIPFeatureExtractor' }, 224).size,
    ).toBe(224);
    const own = { size: 48, mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.1] } as const;
    expect(parsePreprocess(JSON.parse(JSON.stringify(preprocessJson(own))), 48)).toEqual(own);
  });

  test("SigLIP's processor squashes, with a filter of its own", () => {
    const half = [0.5, 0.5, 0.5];
    const siglip = { image_processor_type: 'SiglipImageProcessor' };
    expect(parsePreprocess(siglip, 224)).toEqual({ size: 224, mean: half, std: half, resize: 'squash' });
    const squashed = parsePreprocess({ ...siglip, size: { height: 384, width: 384 }, resample: 2 }, 384);
    expect(squashed).toEqual({ size: 384, mean: half, std: half, resize: 'squash', interpolation: 'bilinear' });
    expect(parsePreprocess(JSON.parse(JSON.stringify(preprocessJson(squashed))), 384)).toEqual(squashed);
    const cropped = { size: 224, mean: half, std: half, interpolation: 'bilinear' } as const;
    expect(parsePreprocess({ image_mean: half, image_std: half, resample: 2 }, 224)).toEqual(cropped);
  });

  test.each([
    [{ resample: 1 }, 'resample: only bilinear (2) and bicubic (3)'],
    [{ size: { height: 224, width: 256 } }, 'size: '],
    [{ image_processor_type: 'SiglipImageProcessor', size: { height: 256, width: 256 } }, 'size 256 does not fit'],
    [{ do_center_crop: false }, 'do_center_crop'],
    [{ rescale_factor: 1 }, 'rescale_factor: the factor is not 1/255'],
    [{ size: { shortest_edge: 256 } }, 'size 256 and crop_size 224 do not fit the model, which takes 224'],
    [{ crop_size: { height: 224, width: 200 } }, 'crop_size'],
    [{ image_std: [0, 1, 1] }, 'image_std'],
    ['text', 'the file'],
  ])('%j is one clear line', (json, message) => {
    expect(() => parsePreprocess(json, 224)).toThrow(message);
  });
});
