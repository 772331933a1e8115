import { describe, expect, test } from 'vitest';
import { readTensors } from '../../../test/tensors.ts';
import { add, compile, gradient, input, mean, mul, program, state } from '../../engine/index.ts';
import { readJson } from '../../io/json.ts';
import { clipParameters } from '../checkpoint/checkpoint.ts';
import { parseClipConfig, type SiglipConfig } from './config.ts';
import { initialise, layerCount, layerId } from './initialise.ts';
import { siglipPatches, siglipTokens } from './siglip.ts';
import { textParameters, textTower } from './text.ts';
import { encoderLayer } from './transformer.ts';
import { visionParameters, visionTower } from './vision.ts';

const folder = new URL('../../../test/goldens/clip/', import.meta.url).pathname;

// Tiny float32 towers against float64 rounded once: sums of at most a hundred terms, a few layers deep.
const tolerance = { rtol: 1e-5, atol: 3e-6 };

describe.each(['siglip', 'siglip2'])('the towers equal SiglipModel of transformers (%s)', name => {
  test('features, hidden states of the first block, logits, and gradients', async () => {
    const config = parseClipConfig(await readJson(`${folder}${name}/config.json`)) as SiglipConfig;
    const weights = await readTensors(`${folder}${name}/model.safetensors`);
    const golden = await readTensors(`${folder}${name}/golden.safetensors`);
    expect(
      clipParameters(config)
        .map(p => p.name)
        .sort(),
    ).toEqual([...weights.keys()].sort());

    const parameters = [...visionParameters(config), ...textParameters(config)];
    const states = new Map(parameters.map(p => [p.name, state(p.name, p.shape)]));
    const params = (key: string) => states.get(key)!;
    const { vision_config: vision, text_config: words, projection_dim: dimension } = config;
    const length = words.max_position_embeddings;
    const pixels = input('pixels', 'float32', [6, 3, vision.image_size, vision.image_size]);
    const ids = input('ids', 'int32', [6, length]);
    const target = input('target', 'float32', [6, dimension]);
    const image = visionTower(config, params, pixels);
    const text = textTower(config, params, ids, input('ends', 'int32', [6]));
    const loss = add(mean(mul(image, text)), mean(mul(add(image, text), target)));
    const wanted = [...golden.keys()].filter(key => key.startsWith('gradients/'));
    expect(wanted.length).toBe(19);
    const gradients = gradient(
      loss,
      wanted.map(key => params(key.slice('gradients/'.length))),
    );
    const first = (tower: 'vision' | 'text') => `${tower}_model.encoder.layers.0`;
    const session = await compile(
      program({
        image,
        text,
        vision_hidden_1: encoderLayer(vision, params, first('vision'), siglipPatches(vision, params, pixels)),
        text_hidden_1: encoderLayer(words, params, first('text'), siglipTokens(words, params, ids)),
        ...Object.fromEntries(wanted.map((key, i) => [key, gradients[i]])),
      }),
      { threads: 1 },
    );
    await session.setState(Object.fromEntries(parameters.map(p => [p.name, weights.get(p.name)!])));
    const feeds = ['pixels', 'ids', 'target'].map(key => [key, golden.get(key)!]);
    const result = await session.run(Object.fromEntries(feeds));
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
    const [scale, bias] = ['logit_scale', 'logit_bias'].map(key => (weights.get(key) as Float32Array)[0]);
    const logits = similarities(result.image as Float32Array, result.text as Float32Array, dimension).map(
      cosine => Math.exp(scale) * cosine + bias,
    );
    expect(logits).toBeAllclose(golden.get('logits') as Float32Array, { rtol: 1e-5, atol: 1e-4 });
  });
});

function similarities(a: Float32Array, b: Float32Array, width: number): number[] {
  const row = (x: Float32Array, i: number) => x.subarray(i * width, (i + 1) * width);
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((s, v, i) => s + v * y[i], 0);
  const unit = (x: Float32Array) => x.map(v => v / Math.sqrt(dot(x, x)));
  const rows = (x: Float32Array) => Array.from({ length: x.length / width }, (_, i) => unit(row(x, i)));
  return rows(a).flatMap(x => rows(b).map(y => dot(x, y)));
}

test('starting weights have the deviations of transformers, and layers for layer-wise decay', () => {
  const config = parseClipConfig({
    model_type: 'siglip',
    vision_config: { image_size: 64, num_hidden_layers: 2, hidden_size: 192, num_attention_heads: 6 },
    text_config: { vocab_size: 600, num_hidden_layers: 1, hidden_size: 120, projection_size: 192 },
  });
  const weights = initialise(config, clipParameters(config), 3);
  const deviation = (name: string) => {
    const data = weights[name];
    return Math.sqrt(data.reduce((s, v) => s + v * v, 0) / data.length);
  };
  // SiglipPreTrainedModel._init_weights: Xavier, LeCun and flax's embedding.
  const expected: Record<string, number> = {
    'vision_model.embeddings.patch_embedding.weight': 768 ** -0.5,
    'vision_model.embeddings.position_embedding.weight': 192 ** -0.5,
    'vision_model.encoder.layers.1.self_attn.v_proj.weight': 192 ** -0.5,
    'vision_model.encoder.layers.0.mlp.fc1.weight': Math.sqrt(2 / (192 + 3072)),
    'vision_model.encoder.layers.0.mlp.fc2.bias': 1e-6,
    'vision_model.head.probe': 192 ** -0.5,
    'vision_model.head.attention.in_proj_weight': Math.sqrt(2 / (4 * 192)),
    'vision_model.head.attention.out_proj.weight': 192 ** -0.5,
    'text_model.embeddings.token_embedding.weight': 120 ** -0.5,
    'text_model.head.weight': 120 ** -0.5,
  };
  for (const [name, value] of Object.entries(expected)) {
    expect(deviation(name) / value, name).toBeGreaterThan(0.85);
    expect(deviation(name) / value, name).toBeLessThan(1.15);
  }
  expect(new Set(weights['vision_model.head.layernorm.weight'])).toEqual(new Set([1]));
  expect(new Set(weights['vision_model.head.attention.in_proj_bias'])).toEqual(new Set([0]));
  expect([...weights.logit_scale, ...weights.logit_bias]).toEqual([0, 0]);
  expect(layerCount(config)).toBe(2);
  const layers = [
    'vision_model.embeddings.patch_embedding.bias',
    'vision_model.encoder.layers.1.mlp.fc1.weight',
    'vision_model.post_layernorm.weight',
    'vision_model.head.probe',
    'vision_model.head.mlp.fc1.weight',
  ];
  expect(layers.map(name => layerId(config, name))).toEqual([0, 2, 3, 3, 3]);
});
