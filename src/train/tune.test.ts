/** Tuning a part of the tower against the same steps in PyTorch and PEFT; what goes together and what does not. */
import { describe, expect, it } from 'vitest';
import { feedsOf, trainGolden } from '../../test/train-golden.ts';
import { parseClipConfig } from '../clip/towers/config.ts';
import { initialise } from '../clip/towers/initialise.ts';
import { visionParameters, visionTower } from '../clip/towers/vision.ts';
import { compile, input, type Program, program, state, type TensorData } from '../engine/index.ts';
import { random } from '../random.ts';
import { mergeLora, startFactors } from './lora.ts';
import { drawTokens, keptTokens } from './patch-dropout.ts';
import { stepProgram } from './step.ts';
import { frozenPart, teacherPart, tunedTower } from './tower.ts';
import { type TuneSettings, tunePlan } from './tune.ts';

type Golden = Awaited<ReturnType<typeof trainGolden>>;

/** The states a step begins with, as far as a program reads them: frozen weights once, trained ones for both roles. */
function startOf(
  { tensors }: Golden,
  { frozen, trained }: ReturnType<typeof tunePlan>,
  { inputs }: Program,
): Record<string, TensorData> {
  const of = (role: string, name: string) => [`${role}.${name}`, tensors.get(`start.${name}`)!] as const;
  const all = [
    ['head', tensors.get('head')!] as const,
    ...frozen.map(({ name }) => of('frozen', name)),
    ...trained.flatMap(({ name }) => ['student', 'teacher'].map(role => of(role, name))),
  ];
  return Object.fromEntries(all.filter(([name]) => inputs.has(name)));
}

describe.each(['freeze', 'head', 'dropout', 'lora', 'lora-resnet'])('steps of %s equal PyTorch', name => {
  it('in losses, masks, agreement, gradient norms, and what is trained', async () => {
    const record = await trainGolden(name);
    const { facts, tensors, config } = record;
    const plan = tunePlan(config, facts.tune);
    const { batch, names, settings, steps } = facts;
    const { logitScale } = settings;
    const [graph, before] = [
      stepProgram({ config, batch, names, logitScale, plan }),
      plan.cachedViews > 0 ? frozenPart(config, plan, batch) : undefined,
    ];
    const session = await compile(graph, { threads: 1 });
    const part = before && (await compile(before, { threads: 1 }));
    try {
      await session.setState(startOf(record, plan, graph));
      await part?.setState(startOf(record, plan, before!));
      for (let i = 0; i < steps; i++) {
        const { weak, strong, ...others } = feedsOf(record, i);
        const feeds: Record<string, TensorData> = { ...others };
        for (const [view, pixels] of Object.entries({ weak, strong })) {
          if (!part) feeds[view] = pixels;
          else feeds[`${view}.0`] = (await part.run({ pixels }))['cut.0'];
        }
        const tokens = tensors.get('tokens');
        if (tokens) feeds.tokens = tokens.slice((i * tokens.length) / steps, ((i + 1) * tokens.length) / steps);
        const outputs = await session.run(feeds);
        for (const [key, value] of Object.entries(facts.reports[i])) {
          expect(outputs[key] as Float32Array, `${key} of step ${i}`).toBeAllclose([value], { rtol: 2e-5, atol: 1e-5 });
        }
      }
      const trained = await session.getState(Object.keys(facts.rounding));
      expect(Object.keys(facts.rounding).sort()).toEqual(
        ['student', 'teacher'].flatMap(role => plan.trained.map(p => `${role}.${p.name}`)).sort(),
      );
      for (const [key, rounding] of Object.entries(facts.rounding)) {
        // As in step.test.ts: what a key's bias does is rounding alone.
        const atol = key.endsWith('k_proj.bias') ? steps * settings.peak : 2e-6 + 10 * rounding;
        expect(trained[key] as Float32Array, key).toBeAllclose(tensors.get(key) as Float32Array, { rtol: 1e-5, atol });
      }
    } finally {
      await session.dispose();
      await part?.dispose();
    }
  });
});

const TOWERS = {
  vit: {
    projection_dim: 8,
    vision_config: {
      ...{ hidden_size: 16, intermediate_size: 24, num_hidden_layers: 3, num_attention_heads: 2 },
      ...{ image_size: 16, patch_size: 4 },
    },
  },
  resnet: {
    projection_dim: 8,
    vision_config: {
      ...{ model_type: 's3a_resnet', image_size: 32, stem_width: 8, stem_pool: true, widths: [8, 12] },
      ...{ blocks: [1, 2], block: 'bottleneck', pool: 'attention', num_attention_heads: 2 },
    },
  },
  siglip: {
    model_type: 'siglip',
    text_config: { projection_size: 16 },
    vision_config: {
      ...{ model_type: 'siglip_vision_model', hidden_size: 16, intermediate_size: 24, num_hidden_layers: 3 },
      ...{ num_attention_heads: 2, image_size: 16, patch_size: 4 },
    },
  },
};
const configOf = (name: keyof typeof TOWERS) => parseClipConfig(TOWERS[name]);

/** Weights with nothing at zero or one. */
function weightsOf(config: ReturnType<typeof configOf>): Record<string, Float32Array> {
  const draw = random(3, 'weights');
  const drawn = initialise(config, visionParameters(config), 1);
  return Object.fromEntries(
    Object.entries(drawn).map(([name, data]) => [name, data.map(v => v + 0.1 * draw.normal())]),
  );
}

async function run(graph: Program, states: Record<string, Float32Array>, feeds: Record<string, TensorData>) {
  const session = await compile(graph, { threads: 1 });
  try {
    await session.setState(Object.fromEntries(Object.entries(states).filter(([name]) => graph.inputs.has(name))));
    return (await session.run(feeds)) as Record<string, Float32Array>;
  } finally {
    await session.dispose();
  }
}

const prefixed = (role: string, weights: Record<string, Float32Array>) =>
  Object.fromEntries(Object.entries(weights).map(([name, data]) => [`${role}.${name}`, data]));

function pixelsOf({ vision_config: { image_size } }: ReturnType<typeof configOf>, batch: number): Float32Array {
  const draw = random(4, 'pixels');
  return Float32Array.from({ length: batch * 3 * image_size ** 2 }, () => draw.normal());
}

describe.each(['vit', 'resnet', 'siglip'] as const)('the tower of a %s', name => {
  const config = configOf(name);
  const weights = weightsOf(config);
  const pixels = pixelsOf(config, 4);
  const size = config.vision_config.image_size;
  const embedding = async (states: Record<string, Float32Array>) => {
    const graph = program({ z: visionTower(config, state, input('pixels', 'float32', [4, 3, size, size])) });
    const { z } = await run(graph, states, { pixels });
    return z.map(
      (v, i) => v / Math.hypot(...z.subarray(i - (i % (z.length / 4)), i - (i % (z.length / 4)) + z.length / 4)),
    );
  };

  it('with factors beside its weights is the one with the merged weights', async () => {
    const plan = tunePlan(config, { tune: 'lora', loraRank: 2, loraAlpha: 3 });
    expect(plan.scale).toBe(1.5);
    const factors = startFactors(plan.targets, plan.rank, 7);
    const graph = program({ z: tunedTower(config, plan, 4).embed('student', 'pixels') });
    const states = prefixed('frozen', weights);
    // As factors start, B·A is nothing.
    const { z: first } = await run(graph, { ...states, ...prefixed('student', factors) }, { pixels });
    expect(first).toBeAllclose(await embedding(weights), { rtol: 1e-5, atol: 1e-6 });
    const draw = random(5, 'factors');
    const moved = Object.fromEntries(
      Object.entries(factors).map(([key, f]) => [key, f.map(() => 0.2 * draw.normal())]),
    );
    const { z: then } = await run(graph, { ...states, ...prefixed('student', moved) }, { pixels });
    const merged = mergeLora(weights, plan.targets, moved, plan.rank, plan.scale);
    expect(then).toBeAllclose(await embedding(merged), { rtol: 1e-4, atol: 1e-5 });
    expect(Math.max(...then.map((v, i) => Math.abs(v - first[i])))).toBeGreaterThan(0.05);
    expect(merged['visual_projection.weight']).toBe(weights['visual_projection.weight']);
  });

  it.each([{ tune: 'last-blocks', freezeLayers: 1 }, { tune: 'last-blocks' }, { tune: 'head' }] as TuneSettings[])(
    'cut in two is the whole one: %o',
    async settings => {
      if (name === 'siglip' && settings.tune === 'head') {
        expect(() => tunePlan(config, settings)).toThrow("SigLIP's image tower has no projection that head could tune");
        return;
      }
      const plan = tunePlan(config, settings);
      const states = { ...prefixed('frozen', weights), ...prefixed('teacher', weights) };
      const before = frozenPart(config, plan, 4);
      const kept = await run(before, states, { pixels });
      const { embedding: z } = await run(teacherPart(config, plan, 4), states, kept);
      expect(z).toBeAllclose(await embedding(weights), { rtol: 1e-5, atol: 1e-6 });
      // A residual block's shortcut reads the pooled activations beside the whole ones, the last block of a transformer with a class
      // token that token beside all.
      expect(before.outputs.size).toBeLessThanOrEqual(name === 'resnet' || !settings.freezeLayers ? 2 : 1);
      // Nothing that is trained is read by the part that is computed once.
      const trained = new Set(plan.trained.map(p => `frozen.${p.name}`));
      expect([...before.inputs.keys()].filter(key => trained.has(key))).toEqual([]);
    },
  );
});

describe('patch dropout', () => {
  const config = configOf('vit');

  it('keeps the class token and a fixed number of patches, drawn for each image and epoch', () => {
    expect(keptTokens(config, 0.5)).toBe(9);
    expect(keptTokens(config, 0.99)).toBe(2);
    expect(keptTokens(configOf('siglip'), 0.75)).toBe(4);
    const rows = drawTokens(config, 0.5, [40, 7, 40], 1, 2);
    const images = [0, 1, 2].map(i => [...rows.slice(9 * i, 9 * i + 9)].map(row => row - 17 * i));
    for (const tokens of images) {
      expect(tokens[0]).toBe(0);
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
      expect(tokens.at(-1)).toBeLessThanOrEqual(16);
    }
    expect(images[0]).toEqual(images[2]);
    expect(images[0]).not.toEqual(images[1]);
    expect(drawTokens(config, 0.5, [40], 1, 3)).not.toEqual(rows.slice(0, 9));
    expect(drawTokens(config, 0.5, [7], 1, 2)).toEqual(rows.slice(9, 18).map(row => row - 17));
  });

  it('chooses every patch equally often', () => {
    const seen = new Array(17).fill(0);
    const images = 4000;
    for (const row of drawTokens(config, 0.5, [...Array(images).keys()], 0, 0)) seen[row % 17]++;
    expect(seen[0]).toBe(images);
    for (const count of seen.slice(1)) expect(Math.abs(count - images / 2)).toBeLessThan(5 * Math.sqrt(images / 4));
  });
});

describe('a plan', () => {
  it('freezes the embeddings and the first blocks', () => {
    const { frozen, trained } = tunePlan(configOf('vit'), { freezeLayers: 2 });
    expect(frozen.map(p => p.name)).toContain('vision_model.pre_layrnorm.weight');
    expect(frozen.map(p => p.name)).toContain('vision_model.encoder.layers.1.mlp.fc2.bias');
    expect(new Set(trained.map(p => p.name.split('.').slice(0, 4).join('.')))).toEqual(
      new Set([
        'vision_model.encoder.layers.2',
        'vision_model.post_layernorm.weight',
        'vision_model.post_layernorm.bias',
        'visual_projection.weight',
      ]),
    );
    expect(tunePlan(configOf('vit')).frozen).toEqual([]);
    expect(tunePlan(configOf('vit'), { tune: 'head' }).trained.map(p => p.name)).toEqual(['visual_projection.weight']);
  });

  it('starts factors as PEFT does: A uniform within 1/√I, B at zero', () => {
    const { targets } = tunePlan(configOf('vit'), { tune: 'lora', loraRank: 64 });
    const factors = startFactors(targets, 64, 0);
    const name = 'vision_model.encoder.layers.0.mlp.fc2';
    const a = factors[`${name}.lora_A.weight`];
    expect(a).toHaveLength(64 * 24);
    const bound = 1 / Math.sqrt(24);
    expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(bound);
    const variance = a.reduce((sum, v) => sum + v * v, 0) / a.length;
    expect(variance / (bound ** 2 / 3)).toBeCloseTo(1, 1);
    expect(factors[`${name}.lora_B.weight`]).toEqual(new Float32Array(16 * 64));
  });

  it.each<[keyof typeof TOWERS, TuneSettings, string]>([
    ['vit', { freezeLayers: 4 }, '4 layers cannot be frozen: the image tower has 3'],
    ['vit', { tune: 'lora', freezeLayers: 3 }, '3 layers cannot be frozen with lora: the image tower has 3'],
    ['vit', { tune: 'last-blocks', freezeLayers: 0 }, 'last-blocks with no layer frozen has nothing to keep'],
    ['vit', { patchDropout: 1 }, 'patchDropout is 1'],
    ['vit', { loraRank: 0 }, 'loraRank is 0'],
    ['vit', { tune: 'head', patchDropout: 0.5 }, 'patch dropout does not go with head'],
    ['resnet', { patchDropout: 0.5 }, 'patch dropout needs patches, and this image tower is convolutional'],
  ])('%s refuses %o', (tower, settings, message) => {
    expect(() => tunePlan(configOf(tower), settings)).toThrow(message);
  });
});
