/** Records of training steps in PyTorch, and what a graph of ours is fed to repeat them. */
import { expect } from 'vitest';
import { parseClipConfig } from '../src/clip/towers/config.ts';
import type { TensorData } from '../src/engine/index.ts';
import { readJson } from '../src/io/json.ts';
import { cosineRate, emaDecay } from '../src/train/schedule.ts';
import type { TuneSettings } from '../src/train/tune.ts';
import { readTensors } from './tensors.ts';

const folder = new URL('./goldens/train/', import.meta.url).pathname;

export interface TrainFacts {
  vision_config: object;
  projection_dim: number;
  settings: {
    peak: number;
    floor: number;
    emaStart: number;
    emaEnd: number;
    emaSteps: number;
    instanceWeight: number;
    structuralWeight: number;
    logitScale: number;
    thresholds: number[];
    clip: number | null;
    /** The names that the teacher chooses from; all where there are none. */
    instanceNames?: number[];
  };
  steps: number;
  batch: number;
  names: number;
  reports: Record<string, number>[];
  rounding: Record<string, number>;
  tune?: TuneSettings;
  /** Of a record in float16: the loss scale before each step and after the last. */
  lossScales?: number[];
}

/** A record of scripts/goldens/train_*.py: its facts and tensors, the tower, and the states that a step begins with. */
export async function trainGolden(name: string) {
  const facts = (await readJson(`${folder}${name}.json`)) as TrainFacts;
  const tensors = await readTensors(`${folder}${name}.safetensors`);
  const { vision_config, projection_dim } = facts;
  const family = name === 'siglip' ? { model_type: name, text_config: { projection_size: projection_dim } } : {};
  const config = parseClipConfig({ ...family, projection_dim, vision_config });
  const start = Object.fromEntries(
    [...tensors]
      .filter(([key]) => key.startsWith('start.'))
      .flatMap(([key, data]) => ['student', 'teacher'].map(role => [key.replace('start', role), data])),
  );
  return { facts, tensors, config, start: { head: tensors.get('head')!, ...start } };
}

/** Row `i` of the golden's first axis, for the pixels from eight bits. */
function at(tensors: Map<string, TensorData>, name: string, i: number, steps: number): Float32Array | Int32Array {
  const data = tensors.get(name)!;
  const length = data.length / steps;
  const part = data.slice(i * length, (i + 1) * length);
  return part instanceof Uint8Array ? Float32Array.from(part, v => (v - 128) / 64) : (part as Float32Array);
}

export const one = (value: number): Float32Array => Float32Array.of(value);

/** What the graph of a step is fed at step `i` of a record. */
export function feedsOf(
  { facts, tensors }: { facts: TrainFacts; tensors: Map<string, TensorData> },
  i: number,
): Record<string, TensorData> {
  const { settings: s, steps, names } = facts;
  return {
    ...Object.fromEntries(['weak', 'strong', 'structural', 'present'].map(name => [name, at(tensors, name, i, steps)])),
    ...(s.instanceNames
      ? { instanceNames: Float32Array.from({ length: names }, (_, n) => (s.instanceNames!.includes(n) ? 0 : -1e4)) }
      : {}),
    learningRate: one(cosineRate(i, steps, s.peak, s.floor)),
    step: one(i + 1),
    emaDecay: one(emaDecay(i, s.emaStart, s.emaEnd, s.emaSteps)),
    threshold: one(s.thresholds[i]),
    instanceWeight: one(s.instanceWeight),
    structuralWeight: one(s.structuralWeight),
  };
}

/**
 * Trained states against the record's. Adam divides a gradient by its own size, so one that is nearly 0 leaves its rounding at the
 * size of a step: a weight may be as far off as ten times PyTorch's own float32 run. The gradient of a key's bias is exactly 0 (a
 * softmax does not see it; in_proj_bias holds one), so it moves by rounding alone: at most by the sum of the steps.
 */
export function expectTrained(
  trained: Readonly<Record<string, TensorData>>,
  { facts, tensors }: Pick<Awaited<ReturnType<typeof trainGolden>>, 'facts' | 'tensors'>,
): void {
  for (const [key, rounding] of Object.entries(facts.rounding)) {
    const atol = /(?:k_proj\.|in_proj_)bias$/.test(key) ? facts.steps * facts.settings.peak : 2e-6 + 10 * rounding;
    expect(trained[key] as Float32Array, key).toBeAllclose(tensors.get(key) as Float32Array, { rtol: 1e-5, atol });
  }
}
