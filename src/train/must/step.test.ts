/** The step of MUST against the same steps in PyTorch; where its gradients go. */
import { describe, expect, it } from 'vitest';
import { readTensors } from '../../../test/tensors.ts';
import { parseClipConfig } from '../../clip/towers/config.ts';
import { compile, type TensorData } from '../../engine/index.ts';
import { readJson } from '../../io/json.ts';
import { cosineRate, emaDecay } from '../schedule.ts';
import { layerScale } from '../update.ts';
import { MOVING_FROM } from './losses.ts';
import { HEAD, mustShapes } from './states.ts';
import { mustProgram } from './step.ts';

const folder = new URL('../../../test/goldens/must/', import.meta.url).pathname;

interface Facts {
  vision_config: object;
  projection_dim: number;
  settings: {
    peak: number;
    floor: number;
    emaStart: number;
    emaEnd: number;
    emaSteps: number;
    logitScale: number;
    threshold: number;
    stepsPerEpoch: number;
    fairnessWeight: number;
    reconstructionWeight: number;
    alignmentWeight: number;
    trainHead: boolean;
  };
  steps: number;
  batch: number;
  names: number;
  reports: Record<string, number>[];
  rounding: Record<string, number>;
}

async function golden(name: string) {
  const facts = (await readJson(`${folder}${name}.json`)) as Facts;
  const tensors = await readTensors(`${folder}${name}.safetensors`);
  const { vision_config, projection_dim, settings, names, batch } = facts;
  const config = parseClipConfig({ projection_dim, vision_config });
  const { logitScale, trainHead } = settings;
  const options = { config, batch, names, logitScale, trainHead, weightDecay: 0.05, layerDecay: 0.65 };
  const shapes = mustShapes(options);
  const head = tensors.get('head')!;
  const started = Object.keys(shapes).flatMap(key => {
    const [role, ...rest] = key.split('.');
    if (role !== 'student' && role !== 'teacher') return [];
    return [[key, rest.join('.') === HEAD ? head : tensors.get(`start.${rest.join('.')}`)!] as const];
  });
  const start: Record<string, TensorData> = { ...(trainHead ? {} : { head }), ...Object.fromEntries(started) };
  return { facts, tensors, config, options, start };
}

type Golden = Awaited<ReturnType<typeof golden>>;

const one = (value: number): Float32Array => Float32Array.of(value);

/** Inputs of step `i`, the pixels from eight bits. */
function feedsOf({ facts, tensors }: Golden, i: number): Record<string, TensorData> {
  const { settings: s, steps, names } = facts;
  const at = (name: string): TensorData => {
    const data = tensors.get(name)!;
    const part = data.slice((i * data.length) / steps, ((i + 1) * data.length) / steps);
    return part instanceof Uint8Array ? Float32Array.from(part, v => (v - 128) / 64) : part;
  };
  return {
    ...Object.fromEntries(['weak', 'strong', 'mask', 'present'].map(name => [name, at(name)])),
    learningRate: one(cosineRate(i, steps, s.peak, s.floor)),
    step: one(i + 1),
    emaDecay: one(emaDecay(i, s.emaStart, s.emaEnd, s.emaSteps)),
    threshold: one(s.threshold),
    fairnessWeight: one(s.fairnessWeight),
    reconstructionWeight: one(s.reconstructionWeight),
    alignmentWeight: one(s.alignmentWeight),
    ...(names >= MOVING_FROM ? { begins: one(i % s.stepsPerEpoch === 0 ? 1 : 0) } : {}),
  };
}

describe.each(['vit', 'many', 'frozen', 'resnet'])('steps of MUST equal PyTorch: %s', name => {
  it('losses, sure images, gradient norms, student and teacher', async () => {
    const record = await golden(name);
    const { facts, tensors, options, start } = record;
    const session = await compile(mustProgram(options), { threads: 1 });
    try {
      await session.setState(start);
      for (let i = 0; i < facts.steps; i++) {
        const outputs = await session.run(feedsOf(record, i));
        for (const [key, value] of Object.entries(facts.reports[i])) {
          expect(outputs[key] as Float32Array, `${key} of step ${i}`).toBeAllclose([value], { rtol: 2e-5, atol: 2e-6 });
        }
      }
      const trained = await session.getState(Object.keys(facts.rounding));
      expect(Object.keys(facts.rounding).sort()).toEqual(
        Object.keys(mustShapes(options))
          .filter(key => /^(student|teacher)\./.test(key))
          .sort(),
      );
      for (const [key, rounding] of Object.entries(facts.rounding)) {
        // As in the test of train/step.ts: Adam makes a step of the rounding of a gradient that is nearly 0, and the gradient
        // of a key's bias is exactly 0, so it moves by rounding alone.
        const atol = key.endsWith('k_proj.bias') ? facts.steps * facts.settings.peak : 2e-6 + 10 * rounding;
        expect(trained[key] as Float32Array, key).toBeAllclose(tensors.get(key) as Float32Array, { rtol: 1e-5, atol });
      }
    } finally {
      await session.dispose();
    }
  });
});

it('the golden weights are far enough from their start to tell', async () => {
  for (const name of ['vit', 'resnet']) {
    const { tensors, start } = await golden(name);
    for (const key of ['visual_projection.weight', 'must.embeddings.mask_token', 'must.decoder.weight', HEAD]) {
      const [from, to] = [start[`student.${key}`], tensors.get(`student.${key}`)!] as Float32Array[];
      // The rate of the token, first of all layers, is 0.65³ of that of the others.
      expect(Math.max(...to.map((v, i) => Math.abs(v - from[i]))), `${name} ${key}`).toBeGreaterThan(5e-4);
    }
  }
});

describe('the gradient', () => {
  /** Size of the first moment, (1 − β₁) · gradient, of a student's weight after one step with the given weights of the losses. */
  async function moments(name: string, weights: Record<string, number>, keys: readonly string[]): Promise<number[]> {
    const record = await golden(name);
    const session = await compile(mustProgram(record.options), { threads: 1 });
    try {
      await session.setState(record.start);
      const scalars = Object.fromEntries(Object.entries(weights).map(([key, value]) => [key, one(value)]));
      await session.run({ ...feedsOf(record, 0), ...scalars });
      const names = keys.map(key => `adamw.m.student.${key}`);
      const state = await session.getState(names);
      return names.map(key => Math.max(...(state[key] as Float32Array).map(Math.abs)));
    } finally {
      await session.dispose();
    }
  }
  const none = { fairnessWeight: 0, reconstructionWeight: 0, alignmentWeight: 0, threshold: 1 };
  const token = 'must.embeddings.mask_token';
  const decoder = 'must.decoder.weight';
  const projection = 'visual_projection.weight';

  it.each(['vit', 'resnet'])('of each loss reaches what it should, in a %s', async name => {
    const keys = [token, decoder, projection, HEAD];
    const reached = async (weights: Record<string, number>) =>
      (await moments(name, { ...none, ...weights }, keys)).map(size => size > 1e-8);
    expect(await reached({})).toEqual([false, false, false, false]);
    expect(await reached({ reconstructionWeight: 1 })).toEqual([true, true, false, false]);
    expect(await reached({ alignmentWeight: 1 })).toEqual([true, false, true, false]);
    expect(await reached({ fairnessWeight: 1 })).toEqual([true, false, true, true]);
    expect(await reached({ threshold: 0 })).toEqual([true, false, true, true]);
  });
});

it('the learning rate of the token is that of the embedding, that of decoder and classifier the last layer’s', () => {
  const config = parseClipConfig({ vision_config: { num_hidden_layers: 3 } });
  const scale = (name: string) => layerScale(config, name, 0.5);
  expect(scale('must.embeddings.mask_token')).toBe(0.5 ** 4);
  for (const name of [HEAD, 'must.decoder.bias', 'must.patch_norm.weight']) expect(scale(name)).toBe(1);
});
