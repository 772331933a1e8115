import { describe, expect, test } from 'vitest';
import { readTensors } from '../../../test/tensors.ts';
import { add, compile, gradient, input, mean, mul, program, state } from '../../engine/index.ts';
import { readJson } from '../../io/json.ts';
import { parseClipConfig, type TextConfig, type VitConfig } from './config.ts';
import { initialise, layerCount, layerId } from './initialise.ts';
import { causalMask, endPositions, textEmbeddings, textParameters, textTower } from './text.ts';
import { encoderLayer } from './transformer.ts';
import { visionEmbeddings, visionParameters, visionTower } from './vision.ts';

const folder = new URL('../../../test/goldens/clip/', import.meta.url).pathname;

// Tiny float32 towers against float64 rounded once: sums of at most a hundred terms, a few layers deep.
const tolerance = { rtol: 1e-5, atol: 3e-6 };

describe.each(['quick_gelu', 'gelu'])('the towers equal CLIPModel of transformers (%s)', name => {
  test('features, hidden states of the first block, similarity, and gradients', async () => {
    const config = parseClipConfig(await readJson(`${folder}${name}/config.json`));
    const weights = await readTensors(`${folder}${name}/model.safetensors`);
    const golden = await readTensors(`${folder}${name}/golden.safetensors`);
    const parameters = [...visionParameters(config), ...textParameters(config)];
    expect([...parameters.map(p => p.name), 'logit_scale'].sort()).toEqual([...weights.keys()].sort());

    const states = new Map(parameters.map(p => [p.name, state(p.name, p.shape)]));
    const params = (key: string) => states.get(key)!;
    const vision = config.vision_config as VitConfig;
    const words = config.text_config as TextConfig;
    const dimension = config.projection_dim;
    const pixels = input('pixels', 'float32', [6, 3, 32, 32]);
    const ids = input('ids', 'int32', [6, 16]);
    const ends = input('ends', 'int32', [6]);
    const target = input('target', 'float32', [6, dimension]);
    const image = visionTower(config, params, pixels);
    const text = textTower(config, params, ids, ends);
    const loss = add(mean(mul(image, text)), mean(mul(add(image, text), target)));
    const wanted = [...golden.keys()].filter(key => key.startsWith('gradients/'));
    const gradients = gradient(
      loss,
      wanted.map(key => params(key.slice('gradients/'.length))),
    );
    const visionHidden = encoderLayer(
      vision,
      params,
      'vision_model.encoder.layers.0',
      visionEmbeddings(vision, params, pixels),
    );
    const textHidden = encoderLayer(
      words,
      params,
      'text_model.encoder.layers.0',
      textEmbeddings(words, params, ids),
      causalMask(16),
    );
    const session = await compile(
      program({
        image,
        text,
        vision_hidden_1: visionHidden,
        text_hidden_1: textHidden,
        ...Object.fromEntries(wanted.map((key, i) => [key, gradients[i]])),
      }),
      { threads: 1 },
    );
    await session.setState(Object.fromEntries(parameters.map(p => [p.name, weights.get(p.name)!])));
    const tokens = golden.get('ids') as Int32Array;
    const result = await session.run({
      pixels: golden.get('pixels')!,
      target: golden.get('target')!,
      ids: tokens,
      ends: endPositions(tokens, 16, words.eos_token_id),
    });
    await session.dispose();

    for (const key of ['image', 'text', 'vision_hidden_1', 'text_hidden_1']) {
      expect(result[key] as Float32Array, key).toBeAllclose(golden.get(key) as Float32Array, tolerance);
    }
    for (const key of wanted) {
      const expected = golden.get(key) as Float32Array;
      const scale = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      // Sums over all positions cancel, so rounding is that of a gradient's largest entries.
      expect(result[key] as Float32Array, key).toBeAllclose(expected, { rtol: 1e-5, atol: 1e-5 * scale });
    }
    const scale = Math.exp((weights.get('logit_scale') as Float32Array)[0]);
    const logits = similarities(result.image as Float32Array, result.text as Float32Array, dimension, scale);
    expect(logits).toBeAllclose(golden.get('logits') as Float32Array, { rtol: 1e-5, atol: 1e-5 * scale });
  });
});

function similarities(a: Float32Array, b: Float32Array, width: number, scale: number): number[] {
  const row = (x: Float32Array, i: number) => x.subarray(i * width, (i + 1) * width);
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((s, v, i) => s + v * y[i], 0);
  const unit = (x: Float32Array) => x.map(v => v / Math.sqrt(dot(x, x)));
  const rows = (x: Float32Array) => Array.from({ length: x.length / width }, (_, i) => unit(row(x, i)));
  return rows(a).flatMap(x => rows(b).map(y => scale * dot(x, y)));
}

test('the end of a row is its first end token, or the largest id for the legacy token 2', () => {
  const ids = Int32Array.of(9, 3, 7, 7, 9, 7, 1, 1);
  expect([...endPositions(ids, 4, 7)]).toEqual([2, 1]);
  expect([...endPositions(ids, 4, 2)]).toEqual([0, 0]);
});

test('starting weights have the deviations of transformers, and layers for layer-wise decay', () => {
  const config = parseClipConfig({
    vision_config: { image_size: 64, num_hidden_layers: 2, hidden_size: 192 },
    text_config: { vocab_size: 600, num_hidden_layers: 2, hidden_size: 128 },
  });
  const weights = initialise(config, [...visionParameters(config), ...textParameters(config)], 3);
  const deviation = (name: string) => {
    const data = weights[name];
    return Math.sqrt(data.reduce((s, v) => s + v * v, 0) / data.length);
  };
  // The rules of transformers' CLIPPreTrainedModel._init_weights.
  const expected: Record<string, number> = {
    'vision_model.embeddings.class_embedding': 192 ** -0.5,
    'vision_model.embeddings.patch_embedding.weight': 0.02,
    'vision_model.embeddings.position_embedding.weight': 0.02,
    'vision_model.encoder.layers.1.self_attn.v_proj.weight': 192 ** -0.5 / 2,
    'vision_model.encoder.layers.1.self_attn.out_proj.weight': 192 ** -0.5,
    'vision_model.encoder.layers.0.mlp.fc1.weight': (2 * 192) ** -0.5,
    'vision_model.encoder.layers.0.mlp.fc2.weight': 192 ** -0.5 / 2,
    'text_model.embeddings.token_embedding.weight': 0.02,
    'text_model.encoder.layers.0.self_attn.q_proj.weight': 128 ** -0.5 / 2,
    visual_projection: 192 ** -0.5,
    text_projection: 128 ** -0.5,
  };
  for (const [name, value] of Object.entries(expected)) {
    const key = name.includes('.') ? name : `${name}.weight`;
    expect(deviation(key) / value, key).toBeGreaterThan(0.85);
    expect(deviation(key) / value, key).toBeLessThan(1.15);
  }
  expect(new Set(weights['vision_model.pre_layrnorm.weight'])).toEqual(new Set([1]));
  expect(new Set(weights['text_model.encoder.layers.0.layer_norm2.bias'])).toEqual(new Set([0]));
  expect(layerCount(config)).toBe(2);
  const layers = [
    'vision_model.embeddings.class_embedding',
    'vision_model.pre_layrnorm.bias',
    'vision_model.encoder.layers.1.mlp.fc1.weight',
    'vision_model.post_layernorm.weight',
    'visual_projection.weight',
  ];
  expect(layers.map(name => layerId(config, name))).toEqual([0, 0, 2, 3, 3]);
});
