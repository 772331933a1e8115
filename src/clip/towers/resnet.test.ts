import { describe, expect, test } from 'vitest';
import { compile, gradient, input, mean, mul, program, state } from '../../engine/index.ts';
import { readJson } from '../../io/json.ts';
import { openSafetensors } from '../../io/safetensors.ts';
import { foldBatchNorm, runningAverages } from './batch-norm.ts';
import { parseClipConfig, type ResnetConfig } from './config.ts';
import { initialise, layerId } from './initialise.ts';
import { resnetParameters, resnetTower } from './resnet.ts';

const folder = new URL('../../../test/goldens/clip/', import.meta.url).pathname;

async function golden(name: string) {
  const file = await openSafetensors(`${folder}${name}.safetensors`);
  const tensors = new Map<string, Float32Array>();
  for (const key of file.names) tensors.set(key, await file.readFloat32(key));
  await file.close();
  const group = (prefix: string) =>
    Object.fromEntries(
      [...tensors].filter(([key]) => key.startsWith(prefix)).map(([key, data]) => [key.slice(prefix.length), data]),
    );
  const vision = (await readJson(`${folder}${name}.json`)) as { projection_dim: number };
  const config = parseClipConfig({ projection_dim: vision.projection_dim, vision_config: vision });
  return { tensors, group, config, vision: config.vision_config as ResnetConfig, dimension: vision.projection_dim };
}

// Float32 sums of some thousand terms through ten layers, against float64 rounded once.
const tolerance = { rtol: 2e-5, atol: 2e-6 };
// With running statistics of one batch the activations reach 98, and PyTorch's own float32 differs by 2e-3 from float64.
const evalTolerance = { rtol: 1e-4, atol: 1e-4 };

describe.each(['resnet-basic', 'resnet-bottleneck'])('%s equals its PyTorch twin', name => {
  test('in training: embedding, running statistics and every gradient', async () => {
    const { tensors, group, vision, dimension } = await golden(name);
    const weights = group('weights/');
    const parameters = resnetParameters(vision, dimension, 'train');
    expect(parameters.map(p => p.name).sort()).toEqual(Object.keys(weights).sort());
    const states = Object.fromEntries(parameters.map(p => [p.name, state(p.name, p.shape)]));
    const pixels = input('pixels', 'float32', [4, 3, vision.image_size, vision.image_size]);
    const target = input('target', 'float32', [4, dimension]);
    const { embedding, statistics } = resnetTower(vision, dimension, n => states[n], pixels, 'train');
    const gradients = gradient(mean(mul(embedding, target)), Object.values(states));
    const session = await compile(
      program({
        embedding,
        ...Object.fromEntries(Object.keys(states).map((key, i) => [`d ${key}`, gradients[i]])),
        ...runningAverages(statistics, (n, shape) => state(n, shape)),
      }),
      { threads: 1 },
    );
    const running = group('running/');
    const ones = Object.keys(running).filter(key => key.endsWith('var'));
    await session.setState(Object.fromEntries(ones.map(key => [key, running[key].map(() => 1)])));
    await session.setState(weights);
    const result = await session.run({ pixels: tensors.get('pixels')!, target: tensors.get('target')! });
    const updated = await session.getState(Object.keys(running));
    await session.dispose();
    expect(result.embedding as Float32Array).toBeAllclose(tensors.get('train')!, tolerance);
    for (const [key, data] of Object.entries(running)) {
      expect(updated[key] as Float32Array).toBeAllclose(data, tolerance);
    }
    for (const [key, data] of Object.entries(group('gradients/'))) {
      // Gradients that vanish exactly (through a batch norm) are rounding noise of the largest ones.
      const scale = Math.max(...data.map(Math.abs));
      expect(result[`d ${key}`] as Float32Array, key).toBeAllclose(data, { rtol: 1e-4, atol: 2e-5 * scale + 1e-7 });
    }
  });

  test('folded, as PyTorch in eval mode', async () => {
    const { tensors, group, vision, dimension } = await golden(name);
    const folded = foldBatchNorm({ ...group('weights/'), ...group('running/') }, vision.batch_norm_eps);
    const parameters = resnetParameters(vision, dimension, 'folded');
    expect(parameters.map(p => p.name).sort()).toEqual(Object.keys(folded).sort());
    const pixels = input('pixels', 'float32', [4, 3, vision.image_size, vision.image_size]);
    const { embedding, statistics } = resnetTower(vision, dimension, (n, shape) => state(n, shape), pixels, 'folded');
    expect(statistics).toEqual({});
    const session = await compile(program({ embedding }), { threads: 1 });
    await session.setState(folded);
    const result = await session.run({ pixels: tensors.get('pixels')! });
    await session.dispose();
    expect(result.embedding as Float32Array).toBeAllclose(tensors.get('eval')!, evalTolerance);
  });
});

test('starting weights: He deviations, blocks that start as the identity, layers by stage', async () => {
  const { config, vision, dimension } = await golden('resnet-basic');
  const parameters = resnetParameters(vision, dimension, 'train');
  const weights = initialise(config, parameters, 1);
  const deviation = (x: Float32Array) => Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length);
  expect(deviation(weights['vision_model.stages.1.0.conv1.weight'])).toBeCloseTo(Math.sqrt(2 / (8 * 9)), 1);
  expect(new Set(weights['vision_model.stages.0.0.conv2.norm.weight'])).toEqual(new Set([0]));
  expect(new Set(weights['vision_model.stages.0.0.conv1.norm.weight'])).toEqual(new Set([1]));
  expect(initialise(config, parameters, 1)).toEqual(weights);
  expect(initialise(config, parameters, 2)['visual_projection.weight']).not.toEqual(
    weights['visual_projection.weight'],
  );
  const layers = [
    'vision_model.stem.2.weight',
    'vision_model.stages.1.0.conv1.weight',
    'vision_model.attnpool.q_proj.bias',
  ];
  expect(layers.map(name => layerId(config, name))).toEqual([0, 2, 3]);
});
