/** Every way of tuning, with what the CPU makes of its step (a kernel's updates, wider rows), takes the steps of the graph as traced. */
import { expect, it } from 'vitest';
import { parseClipConfig } from '../clip/towers/config.ts';
import { initialise } from '../clip/towers/initialise.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { cpuProgram } from '../engine/cpu-program.ts';
import { compile, sizeOf, type TensorData } from '../engine/index.ts';
import { hashBytes } from '../io/hash.ts';
import { random } from '../random.ts';
import { type StepOptions, stepProgram } from './step.ts';
import { type TuneSettings, tunePlan } from './tune.ts';
import { startWeights } from './weights.ts';

const [BATCH, NAMES] = [4, 20];
const config = parseClipConfig({
  projection_dim: 32,
  vision_config: {
    ...{ image_size: 32, patch_size: 8, hidden_size: 64, intermediate_size: 1024 },
    ...{ num_attention_heads: 2, num_hidden_layers: 3 },
  },
});
const weights = initialise(config, visionParameters(config), 0);
const SCALARS: Record<string, number> = {
  ...{ learningRate: 1e-3, emaDecay: 0.9, threshold: 0, instanceWeight: 1, structuralWeight: 1 },
};

/** Hashes of all that training changes, after six runs. */
async function end(
  settings: TuneSettings,
  options: Partial<StepOptions>,
  lean: boolean,
): Promise<Record<string, string>> {
  const plan = tunePlan(config, settings);
  const graph = stepProgram({ config, batch: BATCH, names: NAMES, logitScale: 100, plan, ...options });
  const session = await compile(graph, { threads: 2, lean, frozen: plan.frozen.length > 0 });
  const draw = random(1, 'step on the cpu');
  const noise = (length: number): Float32Array => Float32Array.from({ length }, () => draw.normal());
  try {
    const states = { head: noise(NAMES * 32).map(x => 0.2 * x), ...startWeights(weights, plan, 0) };
    await session.setState(Object.fromEntries(Object.entries(states).filter(([name]) => graph.inputs.has(name))));
    for (let run = 0; run < 6; run++) {
      const feeds: Record<string, TensorData> = {};
      const numbers: Record<string, number> = { ...SCALARS, step: (run >> 1) + 1, keep: run % 2, apply: run % 2 };
      for (const [name, { shape, dtype, source }] of graph.inputs) {
        if (source.kind !== 'input' || source.state) continue;
        const length = sizeOf(shape);
        if (shape.length === 0) feeds[name] = Float32Array.of(numbers[name]);
        else if (name === 'present') feeds[name] = new Float32Array(length).fill(1);
        else if (dtype === 'int32') feeds[name] = Int32Array.from({ length }, (_, i) => i % NAMES);
        else feeds[name] = noise(length);
      }
      await session.run(feeds);
    }
    const trained = [...graph.outputs.keys()].filter(name => graph.inputs.has(name));
    const values = Object.entries(await session.getState(trained));
    return Object.fromEntries(values.map(([name, data]) => [name, hashBytes(data)]));
  } finally {
    await session.dispose();
  }
}

it.each<[string, TuneSettings, Partial<StepOptions>, number]>([
  ['full', {}, {}, 36],
  ['clipped', {}, { clip: 0.5 }, 36],
  // Sums of gradients are states too.
  ['accumulated and clipped', {}, { accumulate: 2, clip: 0.1 }, 45],
  ['frozen layers', { freezeLayers: 1 }, {}, 27],
  ['low rank', { tune: 'lora', loraRank: 4 }, {}, 33],
  ['patch dropout', { patchDropout: 0.5 }, {}, 36],
  ['the last third', { tune: 'last-blocks' }, {}, 12],
])('%s: the same bits', async (_, settings, options, wide) => {
  const plan = tunePlan(config, settings);
  const graph = stepProgram({ config, batch: BATCH, names: NAMES, logitScale: 100, plan, ...options });
  const { shapes, updates } = cpuProgram(graph);
  expect(shapes.size).toBe(wide);
  expect(updates).toHaveLength(plan.trained.length);
  expect(await end(settings, options, false)).toEqual(await end(settings, options, true));
});
