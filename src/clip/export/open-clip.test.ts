import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeAtomic } from '../../io/atomic-write.ts';
import { readJson } from '../../io/json.ts';
import { clipParameters, loadCheckpoint } from '../checkpoint/checkpoint.ts';
import { parseClipConfig } from '../towers/config.ts';
import { openClipForm, writeOpenClip } from './open-clip.ts';

const goldens = new URL('../../../test/goldens/clip/', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-open-clip-'));
});
afterAll(() => rm(folder, { recursive: true }));

// That open_clip itself loads such a folder is shown by test/export.test.ts with S3A_PYTHON.
describe.each(['quick_gelu', 'gelu'])('%s as open_clip has it', name => {
  test.each(['float32', 'float16'] as const)('is the same model when it is read again (%s)', async dtype => {
    const original = await loadCheckpoint(goldens + name);
    const names = clipParameters(original.config).map(p => p.name);
    const weights = await original.readWeights(names);
    const out = join(folder, `${name}-${dtype}`);
    const { preprocess, tokenizerFiles } = original;
    await writeOpenClip(out, original.config, weights, { preprocess, tokenizer: tokenizerFiles.tokenizer, dtype });
    for (const [file, value] of [
      ['tokenizer.json', tokenizerFiles.tokenizer],
      ['tokenizer_config.json', tokenizerFiles.tokenizerConfig],
    ] as const) {
      await writeAtomic(join(out, file), JSON.stringify(value));
    }
    const copy = await loadCheckpoint(out);
    expect(copy.preprocess).toMatchObject({ size: preprocess.size, mean: preprocess.mean, std: preprocess.std });
    const read = await copy.readWeights(names);
    for (const weight of names) {
      if (dtype === 'float32') expect(read[weight], weight).toEqual(weights[weight]);
      else expect(read[weight], weight).toBeAllclose(weights[weight], { rtol: 2 ** -11, atol: 1e-7 });
    }
    const json = (await readJson(join(out, 'open_clip_config.json'))) as Record<string, Record<string, unknown>>;
    const { vision_cfg: vision, text_cfg: text } = json.model_cfg as Record<string, Record<string, number>>;
    // As open_clip computes it: int(width * mlp_ratio).
    expect(Math.trunc(vision.width * vision.mlp_ratio)).toBe(original.config.vision_config.intermediate_size);
    expect(Math.trunc(text.width * text.mlp_ratio)).toBe(original.config.text_config.intermediate_size);
    expect(json.model_cfg.quick_gelu).toBe(name === 'quick_gelu');
    expect(text.hf_tokenizer_name).toBeDefined();
  });
});

test('models that open_clip has no form for are refused', () => {
  const text_config = { hidden_act: 'gelu' };
  expect(() => openClipForm(parseClipConfig({ model_type: 'siglip' }))).toThrow(/no form for the weights of a SigLIP/);
  expect(() => openClipForm(parseClipConfig({ text_config }))).toThrow('the activations quick_gelu and gelu');
  const vision_config = { model_type: 's3a_resnet', image_size: 16, stem_width: 4, widths: [4], blocks: [1] };
  const resnet = parseClipConfig({
    vision_config: { ...vision_config, block: 'basic', pool: 'mean', num_attention_heads: 2 },
  });
  expect(() => openClipForm(resnet)).toThrow('an image tower of the type s3a_resnet');
  expect(openClipForm(parseClipConfig({})).projection_dim).toBe(512);
});
