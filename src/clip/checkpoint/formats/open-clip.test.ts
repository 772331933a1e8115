import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pattern } from '../../../../test/images.ts';
import { tensorsToWrite } from '../../../../test/tensors.ts';
import { S3aError } from '../../../errors.ts';
import { makeView, normalise } from '../../../images/augment.ts';
import { readJson } from '../../../io/json.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../../../io/safetensors.ts';
import { random } from '../../../random.ts';
import { loadClip } from '../../clip.ts';
import { openClipArchitectures, openClipModelConfig } from '../architectures.ts';
import { loadCheckpoint } from '../checkpoint.ts';
import { openClipFormat } from './open-clip.ts';
import { openClipModel } from './open-clip-config.ts';
import { locateOpenClip } from './open-clip-names.ts';
import { openAiFormat } from './openai.ts';

const goldens = new URL('../../../../test/goldens/clip/', import.meta.url).pathname;
const plain = join(goldens, 'open_clip', 'plain');
let folder: string;
/** A folder with files of the goldens under other names, and the tokenizer that all of these models have. */
async function place(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const path = join(folder, name);
  const tokenizer = {
    'tokenizer.json': 'plain/tokenizer.json',
    'tokenizer_config.json': 'plain/tokenizer_config.json',
  };
  for (const [to, from] of Object.entries({ ...tokenizer, ...files })) {
    await cp(join(goldens, 'open_clip', from), join(path, to));
  }
  return path;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-open-clip-'));
});
afterAll(() => rm(folder, { recursive: true }));

function unit(x: Float32Array, width: number): Float32Array {
  return x.map((value, i) => {
    const row = x.subarray(i - (i % width), i - (i % width) + width);
    return value / Math.sqrt(row.reduce((s, v) => s + v * v, 0));
  });
}

const CONFIG = 'open_clip_config.json';
const MODELS: [what: string, golden: string, model: () => Promise<string>][] = [
  ['a folder with safetensors', 'plain', async () => plain],
  [
    'a CustomTextCLIP of bfloat16 in a .bin, with QuickGELU and norms without bias',
    'custom',
    () => place('custom', { [CONFIG]: `custom/${CONFIG}`, 'model.pth': 'custom/open_clip_pytorch_model.bin' }),
  ],
  [
    'a training checkpoint beside a configuration',
    'plain',
    async () => join(await place('trained', { [CONFIG]: `plain/${CONFIG}`, 'epoch_1.pt': 'epoch_1.pt' }), 'epoch_1.pt'),
  ],
  [
    "a TorchScript archive of half precision, as OpenAI's",
    'openai',
    async () => join(await place('openai', { 'ViT-tiny.pt': 'openai.pt' }), 'ViT-tiny.pt'),
  ],
];

// The towers' own tolerance (towers.test.ts) on unit rows; the reference is of float64.
const tolerance = { rtol: 1e-5, atol: 3e-6 };

test.each(MODELS)('%s gives the features and logits of open_clip', async (_what, golden, model) => {
  const file = await openSafetensors(join(goldens, 'open_clip', 'outputs.safetensors'));
  const [pixels, images, texts, logits] = await Promise.all(
    ['pixels', `${golden}/image`, `${golden}/text`, `${golden}/logits`].map(name => file.readFloat32(name)),
  );
  await file.close();
  const strings = ((await readJson(join(goldens, 'tokens.json'))) as { texts: string[] }).texts;
  const clip = await loadClip(await model(), { threads: 1, batch: 8 });
  const width = clip.config.projection_dim;
  const ours = { images: await clip.embedImages(pixels), texts: await clip.embedTexts(strings) };
  expect(ours.images).toBeAllclose(unit(images, width), tolerance);
  expect(ours.texts).toBeAllclose(unit(texts, width), tolerance);
  expect(Math.log(clip.logitScale)).toBeCloseTo(2.5, 6);
  const similarities = Float32Array.from({ length: logits.length }, (_, i) => {
    const [row, column] = [Math.floor(i / strings.length), i % strings.length];
    const text = ours.texts.subarray(column * width, (column + 1) * width);
    return clip.logitScale * text.reduce((sum, v, d) => sum + v * ours.images[row * width + d], 0);
  });
  expect(similarities).toBeAllclose(logits, { rtol: 1e-5, atol: 1e-4 });
  await clip.dispose();
});

test('a weight that open_clip has no place for is named', async () => {
  const { config } = await loadCheckpoint(plain);
  expect(() => locateOpenClip(config, '', 'adapter.weight')).toThrow(
    'open_clip has no place for the weight adapter.weight',
  );
});

test('images become what open_clip’s transform for evaluation makes of them', async () => {
  const file = await openSafetensors(join(goldens, 'open_clip', 'outputs.safetensors'));
  const { preprocess } = await loadCheckpoint(plain);
  const names = file.names.filter(name => name.startsWith('views/'));
  expect(names.length).toBe(6);
  for (const name of names) {
    const [width, height] = name.slice('views/'.length).split('x').map(Number);
    const view = makeView(pattern(width, height), 'evaluation', 32, random(1), [0, 0, 0], preprocess);
    // float32 of the same bytes, divided in another order.
    const pixels = normalise([view], preprocess.mean, preprocess.std);
    expect(pixels, name).toBeAllclose(await file.readFloat32(name), { rtol: 1e-6, atol: 1e-6 });
  }
  await file.close();
});

test('what the files say of preprocessing, activation and sizes', async () => {
  const first = await loadCheckpoint(plain);
  expect(first.preprocess).toEqual({ size: 32, mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3], crop: 'torchvision' });
  expect(first.config.text_config.hidden_act).toBe('gelu');
  expect(first.config.vision_config).toMatchObject({ num_attention_heads: 2, intermediate_size: 43 });
  expect(first.identity.map(path => path.slice(plain.length + 1)).sort()).toEqual([
    CONFIG,
    'open_clip_model.safetensors',
    'tokenizer.json',
  ]);
  const openAi = await place('alone', { 'ViT-tiny.pt': 'openai.pt' });
  const second = await loadCheckpoint(join(openAi, 'ViT-tiny.pt'));
  expect(second.config.text_config.hidden_act).toBe('quick_gelu');
  expect(second.preprocess.mean[0]).toBe(0.48145466);
});

describe('a file of weights with an architecture', () => {
  test('is read as that, with QuickGELU where it is said or the weights are OpenAI’s', async () => {
    const path = join(folder, 'named');
    await cp(join(goldens, 'open_clip', 'openai.pt'), join(path, 'a.pt'));
    await cp(join(goldens, 'open_clip', 'epoch_1.pt'), join(path, 'b.pt'));
    const open = async (file: string, architecture: string) => {
      const source = await openClipFormat.open({ folder: path, file, architecture });
      return [source?.config.text_config.hidden_act, source?.config.vision_config.image_size, source?.notes];
    };
    const vocabulary = expect.stringContaining("tokenizer is OpenAI's");
    const quick = expect.stringContaining('of QuickGELU');
    expect(await open('b.pt', 'ViT-B-32')).toEqual(['gelu', 224, [vocabulary]]);
    expect(await open('b.pt', 'ViT-L-14-336-quickgelu')).toEqual(['quick_gelu', 336, [vocabulary]]);
    expect(await open('a.pt', 'ViT-B-32')).toEqual(['quick_gelu', 224, [quick, vocabulary]]);
    expect(await open('b.pt', 'ViT-L-14@336px')).toEqual(['gelu', 336, [vocabulary]]);
    expect(await open('a.pt', 'ViT-B-32-quickgelu')).toEqual(['quick_gelu', 224, [vocabulary]]);
    await expect(open('a.pt', 'RN50')).rejects.toThrow('RN50 is not an architecture of open_clip that is known');
    await expect(loadCheckpoint('ViT-B-32', { pretrained: join(path, 'b.pt') })).rejects.toThrow(
      'b.pt lacks the weights visual.transformer.resblocks.2.',
    );
  });

  test('a folder’s own configuration counts more, but for QuickGELU', async () => {
    const opened = await openClipFormat.open({
      folder: plain,
      file: 'open_clip_model.safetensors',
      architecture: 'ViT-B-32-quickgelu',
    });
    expect(opened?.config.vision_config).toMatchObject({ image_size: 32, hidden_act: 'quick_gelu' });
  });
});

test('every architecture of open_clip is read as it stands, or refused by a line that names a field', async () => {
  const configs = JSON.parse(
    gunzipSync(await readFile(join(goldens, 'open_clip', 'model_configs.json.gz'))).toString('utf8'),
  ) as Record<string, { quick_gelu?: boolean }>;
  const refused: Record<string, string[]> = {};
  const read: string[] = [];
  for (const [name, config] of Object.entries(configs)) {
    try {
      const expected = openClipModel(config, name);
      read.push(name);
      expect(openClipModel(openClipModelConfig(name), name), name).toEqual(expected);
    } catch (error) {
      const [, field] = /: model_cfg\.([\w.]+) = .+: \w/.exec((error as Error).message) ?? [];
      refused[field] = [...(refused[field] ?? []), name];
      expect(openClipModelConfig(name), `${name}: ${error}`).toBeUndefined();
    }
  }
  expect(read.filter(name => !name.endsWith('-quickgelu')).sort()).toEqual(openClipArchitectures().sort());
  expect(read.filter(name => name.endsWith('-quickgelu')).length).toBe(7);
  expect(Object.fromEntries(Object.entries(refused).map(([field, names]) => [field, names.length]))).toEqual({
    'text_cfg.embed_cls': 1,
    'text_cfg.hf_model_name': 8,
    'text_cfg.pool_type': 5,
    'text_cfg.tokenizer_kwargs.clean': 2,
    'vision_cfg.attentional_pool': 2,
    'vision_cfg.layers': 10,
    'vision_cfg.ls_init_value': 1,
    'vision_cfg.no_ln_pre': 6,
    'vision_cfg.timm_model_name': 78,
  });
});

describe('what differs from a CLIP is named', () => {
  const base = async () => (await readJson(join(plain, CONFIG))) as { model_cfg: object; preprocess_cfg: object };
  const VISION: Record<string, unknown> = {
    layers: [3, 4, 6, 3],
    ls_init_value: 1e-4,
    no_ln_pre: true,
    attentional_pool: 'parallel',
    pool_type: 'avg',
    timm_model_name: 'convnext_base',
    qk_norm: true,
    scaled_cosine_attn: true,
    scale_heads: true,
    scale_attn_inner: true,
    scale_attn: true,
    scale_fc: true,
    act_kwargs: { inplace: true },
    norm_kwargs: { elementwise_affine: false },
    block_type: 'other',
    patch_size: [8, 16, 3],
    rope: true,
  };
  const TEXT: Record<string, unknown> = {
    hf_model_name: 'roberta-base',
    embed_cls: true,
    no_causal_mask: true,
    pool_type: 'last',
    proj_type: 'none',
    proj_bias: true,
    tokenizer_mode: 'clips',
    tokenizer_kwargs: { strip_sep_token: true },
    ls_init_value: 0.1,
    heads: 'many',
  };

  test.each(Object.entries(VISION))('vision_cfg.%s = %j', async (field, value) => {
    const { model_cfg: model } = await base();
    const changed = { ...model, vision_cfg: { ...(model as { vision_cfg: object }).vision_cfg, [field]: value } };
    expect(() => openClipModel(changed, 'x.json')).toThrow(new RegExp(`^x\\.json: model_cfg\\.vision_cfg\\.${field}`));
  });

  test.each(Object.entries(TEXT))('text_cfg.%s = %j', async (field, value) => {
    const { model_cfg: model } = await base();
    const changed = { ...model, text_cfg: { ...(model as { text_cfg: object }).text_cfg, [field]: value } };
    expect(() => openClipModel(changed, 'x.json')).toThrow(new RegExp(`^x\\.json: model_cfg\\.text_cfg\\.${field}`));
  });

  test('in the whole model, and what is only for training or by default is not', async () => {
    const { model_cfg: model } = await base();
    expect(() => openClipModel({ ...model, multimodal_cfg: { width: 1 } }, 'x')).toThrow(
      'model_cfg.multimodal_cfg = {"width":1}: CoCa',
    );
    expect(() => openClipModel({ ...model, adapter: 1 }, 'x')).toThrow(
      'x: model_cfg.adapter = 1: no field that is known',
    );
    expect(() => openClipModel({ ...model, embed_dim: undefined }, 'x')).toThrow('x: model_cfg.embed_dim = undefined');
    expect(() => openClipModel([], 'x')).toThrow(/^x: model_cfg = \[\]/);
    const { vision_cfg: vision } = model as { vision_cfg: object };
    const harmless = {
      ls_init_value: null,
      attentional_pool: false,
      final_ln_after_pool: true,
      timm_pool: '',
      act_kwargs: null,
    };
    const same = { ...model, cast_dtype: null, vision_cfg: { ...vision, ...harmless } };
    expect(openClipModel(same, 'x')).toEqual(openClipModel(model, 'x'));
    const tanh = openClipModel({ ...model, vision_cfg: { ...vision, act_kwargs: { approximate: 'tanh' } } }, 'x');
    expect(tanh.config.vision_config).toMatchObject({ hidden_act: 'gelu_pytorch_tanh' });
  });

  test('for any JSON there is a model or one line', async () => {
    const { model_cfg: model } = await base();
    const { vision_cfg, text_cfg } = model as { vision_cfg: object; text_cfg: object };
    const fields = fc.constantFrom(...Object.keys({ ...vision_cfg, ...text_cfg, ...VISION, ...TEXT }));
    const changes = fc.dictionary(fields, fc.jsonValue(), { maxKeys: 2 });
    const numbers = fc.dictionary(fields, fc.oneof(fc.integer(), fc.double(), fc.constant(1e300)), { maxKeys: 2 });
    const change = fc.oneof(changes, numbers, fc.jsonValue());
    fc.assert(
      fc.property(change, change, fc.boolean(), (vision, text, whole) => {
        const changed = (part: object, by: unknown) => (typeof by === 'object' && !whole ? { ...part, ...by } : by);
        const given = { ...model, vision_cfg: changed(vision_cfg, vision), text_cfg: changed(text_cfg, text) };
        try {
          openClipModel(given, 'x');
        } catch (error) {
          expect(error).toBeInstanceOf(S3aError);
          expect((error as Error).message).toMatch(/^x: [^\n]+$/);
        }
      }),
      { seed: 7, numRuns: 500 },
    );
    let deep: unknown = null;
    for (let i = 0; i < 20_000; i++) deep = { deep };
    expect(() => openClipModel({ ...model, deep }, 'x')).toThrow(S3aError);
  });

  test.each([
    [{ resize_mode: 'longest' }, "preprocess_cfg.resize_mode = \"longest\": only 'shortest' and 'squash' are known"],
    [{ interpolation: 'nearest' }, 'preprocess_cfg.interpolation = "nearest"'],
    [{ mode: 'L' }, 'preprocess_cfg.mode = "L": only \'RGB\' is known'],
    [{ mean: [0.5, 0.5] }, 'preprocess_cfg.mean = [0.5,0.5]'],
    [{ std: 0 }, 'preprocess_cfg.std = 0'],
  ])('preprocess_cfg %j', async (change, message) => {
    const path = await place('preprocess', { 'open_clip_model.safetensors': 'plain/open_clip_model.safetensors' });
    const config = await base();
    await writeFile(
      join(path, CONFIG),
      JSON.stringify({ ...config, preprocess_cfg: { ...config.preprocess_cfg, ...change } }),
    );
    await expect(loadCheckpoint(path)).rejects.toThrow(message);
  });

  test('images are squashed and bilinear where the configuration says so', async () => {
    const path = await place('squash', { 'open_clip_model.safetensors': 'plain/open_clip_model.safetensors' });
    const preprocess_cfg = { mean: [0, 0, 0], std: 1, resize_mode: 'squash', interpolation: 'bilinear' };
    await writeFile(join(path, CONFIG), JSON.stringify({ ...(await base()), preprocess_cfg }));
    const { preprocess } = await loadCheckpoint(path);
    const ways = { resize: 'squash', interpolation: 'bilinear' };
    expect(preprocess).toEqual({ size: 32, mean: [0, 0, 0], std: [1, 1, 1], ...ways });
  });
});

describe('a place that does not fit is one clear line', () => {
  async function written(name: string, change: (tensors: Record<string, TensorToWrite>) => void): Promise<string> {
    const tensors = await tensorsToWrite(join(plain, 'open_clip_model.safetensors'));
    change(tensors);
    const path = join(folder, `${name}.safetensors`);
    await writeSafetensors(path, tensors);
    return path;
  }

  test('no weights, no model_cfg, no tokenizer', async () => {
    const path = await place('empty', { [CONFIG]: `plain/${CONFIG}` });
    await expect(loadCheckpoint(path)).rejects.toThrow(`${path} has ${CONFIG} but no weights`);
    await cp(join(plain, 'open_clip_model.safetensors'), join(path, 'open_clip_model.safetensors'));
    await rm(join(path, 'tokenizer.json'));
    await expect(loadCheckpoint(path)).rejects.toThrow(
      'has no tokenizer.json, and its model of 656 tokens does not fit',
    );
    await writeFile(join(path, CONFIG), '{"embed_dim": 512}');
    await expect(loadCheckpoint(path)).rejects.toThrow(`${CONFIG} has no model_cfg`);
  });

  test('a tokenizer that is not here', async () => {
    const model = { ...openClipModelConfig('ViT-B-32') };
    const text_cfg = { ...(model.text_cfg as object), hf_tokenizer_name: 'org/other' };
    const path = join(folder, 'other');
    await cp(join(plain, 'open_clip_model.safetensors'), join(path, 'open_clip_model.safetensors'));
    await writeFile(join(path, CONFIG), JSON.stringify({ model_cfg: { ...model, text_cfg } }));
    await expect(loadCheckpoint(path)).rejects.toThrow(
      `${CONFIG} asks for the tokenizer org/other, but ${path} has no`,
    );
  });

  test('weights alone that do not say how they were trained, or are not of a CLIP', async () => {
    const opened = (path: string) => openAiFormat.open({ folder: '/', file: path });
    const bare = await written('bare', () => {});
    await expect(opened(bare)).rejects.toThrow('does not say whether it was trained with GELU or QuickGELU');
    const resnet = await written('resnet', t => {
      t['visual.layer1.0.conv1.weight'] = t['visual.conv1.weight'];
    });
    await expect(opened(resnet)).rejects.toThrow('has a ResNet as its image tower');
    const other = await written('other', t => {
      delete t['visual.proj'];
    });
    await expect(opened(other)).rejects.toThrow("is no CLIP of OpenAI's: it has no visual.proj");
    const theirs = await written('transformers', t => {
      t['vision_model.post_layernorm.weight'] = t.logit_scale;
    });
    await expect(opened(theirs)).rejects.toThrow('has the weights of transformers, but there is no config.json beside');
    expect(await openAiFormat.open({ folder })).toBeUndefined();
  });

  test('shapes alone name the architectures that are meant', async () => {
    const path = await written('b32', t => {
      const zeros = (...shape: number[]): TensorToWrite => ({
        dtype: 'U8',
        shape,
        data: new Uint8Array(shape.reduce((a, b) => a * b)),
      });
      for (const key of Object.keys(t)) delete t[key];
      for (let i = 0; i < 12; i++) {
        t[`visual.transformer.resblocks.${i}.attn.in_proj_weight`] = zeros(1);
        t[`transformer.resblocks.${i}.attn.in_proj_weight`] = zeros(1);
      }
      Object.assign(t, {
        'visual.conv1.weight': zeros(768, 1, 1, 32),
        'visual.positional_embedding': zeros(50, 1),
        'visual.proj': zeros(1),
        text_projection: zeros(1, 512),
        positional_embedding: zeros(77, 1),
        'token_embedding.weight': zeros(49408, 512),
        'ln_final.weight': zeros(1),
      });
    });
    const error = await openAiFormat.open({ folder: '/', file: path }).catch((e: unknown) => e);
    expect((error as { hint?: string }).hint).toContain('--model ViT-B-32 or ViT-B-32-quickgelu, --pretrained /');
  });
});
