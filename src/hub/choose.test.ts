/** Which files of a list are taken, for lists as real repositories have them. */
import { describe, expect, test } from 'vitest';
import { type Configs, smallAmong, tokenizerAmong, weightsAmong } from './choose.ts';

const CLIP: Configs = { modelType: 'clip', hasOpenClip: false, tokenizer: undefined };
const index = { 'pytorch_model.bin.index.json': { weight_map: { a: 'pytorch_model-00001-of-00001.bin' } } };
const read = async (name: string): Promise<unknown> => index[name as keyof typeof index];
const names = (text: string): Map<string, 0> => new Map(text.split(/\s+/).map(name => [name, 0]));

async function best(text: string, configs: Partial<Configs> = {}, layout?: 'open_clip'): Promise<readonly string[]> {
  const forms = await weightsAmong(names(text), { ...CLIP, ...configs }, read, layout);
  return forms[0]?.files ?? [];
}

describe('weights', () => {
  test('safetensors before pickles, and one format only', async () => {
    const all =
      'flax_model.msgpack tf_model.h5 pytorch_model.bin model.safetensors pytorch_model.bin.index.json open_clip_model.safetensors open_clip_pytorch_model.bin onnx/vision_model.onnx onnx/text_model.onnx';
    const order = [];
    let left = all.split(' ');
    for (;;) {
      const found = await best(left.join(' '), { hasOpenClip: true });
      if (found.length === 0) break;
      order.push(found[0]);
      left = left.filter(name => name !== found[0]);
    }
    expect(order).toEqual([
      'model.safetensors',
      'open_clip_model.safetensors',
      'pytorch_model.bin',
      'pytorch_model.bin.index.json',
      'open_clip_pytorch_model.bin',
      'onnx/vision_model.onnx',
    ]);
    expect(await best(all, { hasOpenClip: true }, 'open_clip')).toEqual(['open_clip_model.safetensors']);
  });

  test('of timm are those of open_clip, as the others are of the image tower', async () => {
    const files = 'model.safetensors pytorch_model.bin open_clip_pytorch_model.bin';
    expect(await best(files, { modelType: undefined, hasOpenClip: true })).toEqual(['open_clip_pytorch_model.bin']);
    expect(await best(files, { modelType: undefined })).toEqual([]);
    // Who names the architecture needs no config.
    expect(await best(files, { modelType: undefined }, 'open_clip')).toEqual(['open_clip_pytorch_model.bin']);
  });

  test('of ONNX come with the files of their tensors, in the best precision', async () => {
    expect(
      await best(
        'onnx/text_model_fp16.onnx onnx/vision_model_fp16.onnx onnx/text_model.onnx onnx/text_model.onnx_data onnx/vision_model.onnx onnx/vision_model.onnx_data onnx/vision_model.onnx_data_1 onnx/vision_model_q4.onnx onnx/vision_model.onnx_notes',
      ),
    ).toEqual([
      'onnx/vision_model.onnx',
      'onnx/text_model.onnx',
      'onnx/text_model.onnx_data',
      'onnx/vision_model.onnx_data',
      'onnx/vision_model.onnx_data_1',
    ]);
    expect(await best('onnx/text_model.onnx onnx/text_model_quantized.onnx onnx/vision_model_quantized.onnx')).toEqual([
      'onnx/vision_model_quantized.onnx',
      'onnx/text_model_quantized.onnx',
    ]);
    const both = 'onnx/model.onnx onnx/vision_model.onnx onnx/text_model.onnx';
    expect(await best(both)).toEqual(['onnx/model.onnx']);
    expect(await best(`onnx/model_fp16.onnx ${both.slice('onnx/model.onnx '.length)}`)).toEqual([
      'onnx/vision_model.onnx',
      'onnx/text_model.onnx',
    ]);
    expect(await best('onnx/model_fp16.onnx')).toEqual(['onnx/model_fp16.onnx']);
  });
});

test('small files', () => {
  expect(
    smallAmong(
      names(
        'README.md config.json tokenizer.json vocab.json merges.txt tokenizer_config.json preprocessor_config.json x',
      ),
    ),
  ).toEqual(['config.json', 'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json']);
  expect(tokenizerAmong(names('vocab.json merges.txt special_tokens_map.json'))).toEqual([
    'vocab.json',
    'merges.txt',
    'special_tokens_map.json',
  ]);
  expect(tokenizerAmong(names('spiece.model tokenizer_config.json'))).toEqual([
    'spiece.model',
    'tokenizer_config.json',
  ]);
  expect(tokenizerAmong(names('tokenizer.json spiece.model'))).toEqual(['tokenizer.json', 'spiece.model']);
  expect(tokenizerAmong(names('vocab.json'))).toEqual([]);
});
