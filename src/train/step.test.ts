/** The step's graph against the same steps in PyTorch; accumulation against the whole batch. */
import { describe, expect, test } from 'vitest';
import { expectTrained, feedsOf, one, type TrainFacts, trainGolden } from '../../test/train-golden.ts';
import { type ClipConfig, parseClipConfig } from '../clip/towers/config.ts';
import { initialise } from '../clip/towers/initialise.ts';
import { visionParameters, visionTower } from '../clip/towers/vision.ts';
import { compile, input, program, state, type TensorData } from '../engine/index.ts';
import { hashBytes } from '../io/hash.ts';
import { random } from '../random.ts';
import { stepProgram, trainedShapes } from './step.ts';
import { tunePlan } from './tune.ts';
import { layerScale } from './update.ts';
import { startWeights } from './weights.ts';

const optionsOf = (facts: TrainFacts, config: ClipConfig) => ({
  config,
  batch: facts.batch,
  names: facts.names,
  logitScale: facts.settings.logitScale,
  clip: facts.settings.clip ?? undefined,
  instanceNames: facts.settings.instanceNames && ('found' as const),
});

describe.each(['vit', 'resnet', 'siglip', 'found'])('ten steps of a %s equal PyTorch', name => {
  test('losses, masks, agreement, gradient norms, student and teacher', async () => {
    const record = await trainGolden(name);
    const { facts, tensors, config, start } = record;
    const session = await compile(stepProgram(optionsOf(facts, config)), { threads: 1 });
    try {
      await session.setState(start);
      for (let i = 0; i < facts.steps; i++) {
        const outputs = await session.run(feedsOf(record, i));
        for (const [key, value] of Object.entries(facts.reports[i])) {
          // Logits reach 9, so float32 rounds them by 1e-6; the weights of earlier steps add their own rounding.
          expect(outputs[key] as Float32Array, `${key} of step ${i}`).toBeAllclose([value], { rtol: 2e-5, atol: 1e-5 });
        }
      }
      const trained = await session.getState(Object.keys(facts.rounding));
      expectTrained(trained, { facts, tensors });
    } finally {
      await session.dispose();
    }
  });
});

test('the golden weights are far enough from their start to tell', async () => {
  const { tensors } = await trainGolden('vit');
  const key = 'vision_model.encoder.layers.1.mlp.fc1.weight';
  const start = tensors.get(`start.${key}`) as Float32Array;
  for (const role of ['student', 'teacher']) {
    const end = tensors.get(`${role}.${key}`) as Float32Array;
    expect(Math.max(...end.map((v, i) => Math.abs(v - start[i])))).toBeGreaterThan(1e-3);
  }
});

describe('images without a structural label', () => {
  /** Structural loss and the whole loss of the first step, and the cross-entropy of each image worked out from its embedding. */
  async function lossesOf(structural: number[], instanceWeight: number) {
    const record = await trainGolden('vit');
    const { facts, config, start, tensors } = record;
    const feeds: Record<string, TensorData> = {
      ...feedsOf(record, 0),
      structural: Int32Array.from(structural),
      instanceWeight: one(instanceWeight),
    };
    const session = await compile(stepProgram(optionsOf(facts, config)), { threads: 1 });
    const size = config.vision_config.image_size;
    const tower = visionTower(config, state, input('pixels', 'float32', [facts.batch, 3, size, size]));
    const encoder = await compile(program({ embedding: tower }), { threads: 1 });
    try {
      await session.setState(start);
      await encoder.setState(
        Object.fromEntries(
          Object.entries(start)
            .filter(([name]) => name.startsWith('student.'))
            .map(([name, data]) => [name.slice('student.'.length), data]),
        ),
      );
      const outputs = await session.run(feeds);
      const { embedding } = await encoder.run({ pixels: feeds.strong });
      const head = tensors.get('head') as Float32Array;
      const width = config.projection_dim;
      const crossEntropies = structural.map((label, i) => {
        const z = Array.from((embedding as Float32Array).slice(i * width, (i + 1) * width));
        const length = Math.hypot(...z);
        const logits = Array.from({ length: facts.names }, (_, w) =>
          z.reduce((sum, v, d) => sum + (facts.settings.logitScale * v * head[w * width + d]) / length, 0),
        );
        const normaliser = Math.log(logits.reduce((sum, v) => sum + Math.exp(v), 0));
        return label < 0 ? Number.NaN : normaliser - logits[label];
      });
      return { outputs: outputs as Record<string, Float32Array>, crossEntropies };
    } finally {
      await session.dispose();
      await encoder.dispose();
    }
  }

  test('are left out: the mean is over the others', async () => {
    const { outputs, crossEntropies } = await lossesOf([3, -1, 7, -1, -1, 0], 0);
    const expected = (crossEntropies[0] + crossEntropies[2] + crossEntropies[5]) / 3;
    expect(expected).toBeGreaterThan(1);
    expect(outputs.structuralLoss).toBeAllclose([expected], { rtol: 1e-5, atol: 0 });
    expect(outputs.loss).toBeAllclose([0.25 * expected], { rtol: 1e-5, atol: 0 });
  });

  test('are all: the term is 0, moves nothing, and nothing agrees', async () => {
    const { outputs } = await lossesOf([-1, -1, -1, -1, -1, -1], 0);
    for (const name of ['structuralLoss', 'loss', 'gradientNorm', 'agreement']) {
      expect(outputs[name], name).toEqual(Float32Array.of(0));
    }
    const { outputs: others } = await lossesOf([-1, -1, -1, -1, -1, -1], 1);
    expect(others.loss).toEqual(others.instanceLoss);
    expect(others.loss[0]).toBeGreaterThan(0);
  });
});

test('two halves of a batch, accumulated, are the whole batch where both halves cover as many images', async () => {
  const record = await trainGolden('vit');
  const { facts, config, start } = record;
  const whole: Record<string, TensorData> = {
    ...feedsOf(record, 0),
    instanceWeight: one(0),
    structural: Int32Array.of(1, 5, 2, 7, 0, 3),
  };
  const half = (h: number) => {
    const part = (data: TensorData) => data.slice((h * data.length) / 2, ((h + 1) * data.length) / 2);
    const rows = Object.fromEntries(['weak', 'strong', 'present', 'structural'].map(n => [n, part(whole[n])]));
    return { ...whole, ...rows, keep: one(h), apply: one(h) };
  };
  const shapes = Object.keys(trainedShapes(config));
  const run = async (rows: number, accumulate: number, feeds: Record<string, TensorData>[]) => {
    const options = { ...optionsOf(facts, config), batch: rows, accumulate };
    const session = await compile(stepProgram(options), { threads: 1 });
    try {
      await session.setState(start);
      const states = [await session.getState(shapes)];
      for (const feed of feeds) {
        await session.run(feed);
        states.push(await session.getState(shapes));
      }
      return states;
    } finally {
      await session.dispose();
    }
  };
  const [, expected] = await run(6, 1, [whole]);
  const [before, between, after] = await run(3, 2, [half(0), half(1)]);
  expect(between).toEqual(before);
  for (const name of shapes) {
    // The first step of Adam is ±rate whatever the gradient's size: a gradient of nearly 0 may take half of it.
    const atol = name.endsWith('k_proj.bias')
      ? 2e-3
      : name.startsWith('adamw.v')
        ? 1e-4
        : name.startsWith('adamw')
          ? 1e-6
          : 2e-5;
    expect(after[name] as Float32Array, name).toBeAllclose(expected[name] as Float32Array, { rtol: 1e-5, atol });
  }
});

test('the learning rate falls from the projection to the embedding', () => {
  const config = parseClipConfig({ vision_config: { num_hidden_layers: 3 } });
  const scale = (name: string) => layerScale(config, name, 0.5);
  expect(scale('visual_projection.weight')).toBe(1);
  expect(scale('vision_model.post_layernorm.bias')).toBe(1);
  expect(scale('vision_model.encoder.layers.2.mlp.fc1.weight')).toBe(0.5);
  expect(scale('vision_model.encoder.layers.0.mlp.fc1.weight')).toBe(0.125);
  expect(scale('vision_model.embeddings.class_embedding')).toBe(0.0625);
});

test.each([
  ['vit', {}],
  ['resnet', {}],
  ['siglip', {}],
  ['vit', { tune: 'lora' as const }],
])('a %s whose blocks are computed again takes the same steps, bit by bit %o', async (name, settings) => {
  const record = await trainGolden(name);
  const { facts, config, start } = record;
  const plan = tunePlan(config, settings);
  const weights = Object.fromEntries(
    Object.entries(start)
      .filter(([key]) => key.startsWith('student.'))
      .map(([key, data]) => [key.slice('student.'.length), data as Float32Array]),
  );
  const run = async (gradCheckpointing: boolean) => {
    const graph = stepProgram({ ...optionsOf(facts, config), plan, gradCheckpointing });
    const copies = graph.nodes.filter(({ place }) => place.includes('recompute')).length;
    const session = await compile(graph, { threads: 1 });
    try {
      await session.setState({ head: start.head, ...startWeights(weights, plan, 0) });
      const outputs = [];
      for (const i of [0, 1, 2]) outputs.push(await session.run(feedsOf(record, i)));
      return { copies, outputs, states: await session.getState() };
    } finally {
      await session.dispose();
    }
  };
  const [kept, again] = [await run(false), await run(true)];
  expect(kept.copies).toBe(0);
  expect(again.copies).toBeGreaterThan(10);
  expect(again.outputs).toEqual(kept.outputs);
  expect(again.states).toEqual(kept.states);
});

test('a tower of large weights, updated where they lie, takes the same steps with blocks that are computed again', async () => {
  const vision_config = {
    ...{ image_size: 16, patch_size: 8, hidden_size: 160, intermediate_size: 320 },
    ...{ num_attention_heads: 4, num_hidden_layers: 3 },
  };
  const config = parseClipConfig({ projection_dim: 128, vision_config });
  const options = { config, batch: 2, names: 5, logitScale: 20 };
  const draw = random(0, 'large');
  const normal = (length: number, scale: number) => Float32Array.from({ length }, () => scale * draw.normal());
  const weights = initialise(config, visionParameters(config), 0);
  const start = { head: normal(5 * 128, 0.1), ...startWeights(weights, tunePlan(config), 0) };
  const scalars = { learningRate: 1e-3, emaDecay: 0.9, threshold: 0, instanceWeight: 1, structuralWeight: 0.25 };
  const feeds: Record<string, TensorData> = {
    ...{ weak: normal(2 * 3 * 256, 1), strong: normal(2 * 3 * 256, 1), present: Float32Array.of(1, 1) },
    ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, one(value)])),
    structural: Int32Array.of(1, 4),
  };
  const run = async (gradCheckpointing: boolean, apart: boolean) => {
    const graph = stepProgram({ ...options, gradCheckpointing });
    // An output that is a state itself keeps the state from being overwritten.
    const states = [...graph.inputs].filter(([name]) => name.startsWith('student.'));
    const beside = apart ? Object.fromEntries(states.map(([name, state]) => [`before ${name}`, state])) : {};
    const outputs = program({ ...Object.fromEntries(graph.outputs), ...beside });
    const session = await compile(outputs, { threads: 1, lean: true });
    try {
      await session.setState(start);
      const losses = [];
      for (const step of [1, 2, 3]) losses.push((await session.run({ ...feeds, step: one(step) })).loss);
      const states = Object.entries(await session.getState());
      return { losses, states: Object.fromEntries(states.map(([name, data]) => [name, hashBytes(data)])) };
    } finally {
      await session.dispose();
    }
  };
  const expected = await run(false, true);
  expect(expected.losses[2][0]).toBeLessThan(Number(expected.losses[0][0]));
  expect(await run(false, false)).toEqual(expected);
  expect(await run(true, false)).toEqual(expected);
});
