/** Ten steps of self-training of a ViT-B/32 beside the same steps in PyTorch. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseClipConfig } from '../../src/clip/towers/config.ts';
import { visionParameters } from '../../src/clip/towers/vision.ts';
import { compile, type Session, type TensorData } from '../../src/engine/index.ts';
import { readJson } from '../../src/io/json.ts';
import { openSafetensors, type SafetensorsFile } from '../../src/io/safetensors.ts';
import { cosineRate, emaDecay } from '../../src/train/schedule.ts';
import { stepProgram } from '../../src/train/step.ts';

interface Facts {
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
  };
  steps: number;
  batch: number;
  names: number;
  /** What each step reports in float64, and in PyTorch's float32. */
  reports: Record<string, number>[];
  singleReports: Record<string, number>[];
  /** Distance of PyTorch's float32 run from its float64 run, by tensor. */
  rounding: Record<string, number>;
}

/** Largest distance from the float64 run, of us and of PyTorch's float32. */
interface Gap {
  ours: number;
  theirs: number;
}

/** Runs steps.py and the same steps with s3a; gives a Markdown table. */
export async function compareSteps(
  folder: string,
  python: (args: readonly string[]) => Promise<string>,
): Promise<string> {
  await python(['steps.py', folder]);
  const facts = (await readJson(join(folder, 'steps.json'))) as Facts;
  const file = await openSafetensors(join(folder, 'steps.safetensors'));
  const gaps: Record<string, Gap> = {};
  const { config, session } = await prepare(facts, file);
  try {
    const keys = visionParameters(config).map(({ name }) => name);
    for (let i = 0; i < facts.steps; i++) {
      const outputs = await session.run(await feedsOf(facts, file, i));
      for (const [key, value] of Object.entries(facts.reports[i])) {
        const scale = Math.max(Math.abs(value), 1e-3);
        const theirs = Math.abs(facts.singleReports[i][key] - value) / scale;
        widen(gaps, `${key}, relative`, Math.abs(Number(outputs[key][0]) - value) / scale, theirs);
      }
      if (i > 0) continue;
      // AdamW's first moment after one step is a tenth of the gradient.
      for (const key of keys) {
        const moment = (await session.getState([`adamw.m.student.${key}`]))[`adamw.m.student.${key}`] as Float32Array;
        const gradient = await file.readFloat32(`gradient.${key}`);
        const largest = gradient.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        // The bias of a key does not reach the softmax, so its gradient is zero and all that is left is rounding.
        if (key.endsWith('k_proj.bias')) continue;
        const gap = largestGap(
          moment.map(m => 10 * m),
          gradient,
        );
        widen(
          gaps,
          'gradients of the first step, of the largest entry',
          gap / largest,
          facts.rounding[`gradient.${key}`] / largest,
        );
      }
    }
    for (const role of ['student', 'teacher']) {
      for (const key of keys) {
        if (key.endsWith('k_proj.bias')) continue;
        const name = `${role}.${key}`;
        const found = (await session.getState([name]))[name] as Float32Array;
        const gap = largestGap(found, await file.readFloat32(name));
        const rates = facts.settings.peak;
        widen(gaps, `${role}'s weights, in learning rates`, gap / rates, facts.rounding[name] / rates);
      }
    }
  } finally {
    await session.dispose();
    await file.close();
    await rm(folder, { recursive: true, force: true });
  }
  const rows = Object.entries(gaps).map(
    ([name, { ours, theirs }]) => `| ${name} | ${ours.toExponential(1)} | ${theirs.toExponential(1)} |`,
  );
  const head = '| ten steps of ViT-B/32 | s3a, float32 | PyTorch, float32 |\n| --- | --- | --- |';
  return [`\n${head}`, ...rows].join('\n');
}

async function prepare(facts: Facts, file: SafetensorsFile) {
  const config = parseClipConfig({ projection_dim: facts.projection_dim });
  const { batch, names, settings } = facts;
  const session = await compile(stepProgram({ config, batch, names, logitScale: settings.logitScale }));
  await session.setState({ head: await file.readFloat32('head') }, { move: true });
  for (const { name } of visionParameters(config)) {
    for (const role of ['student', 'teacher']) {
      await session.setState({ [`${role}.${name}`]: await file.readFloat32(`start.${name}`) }, { move: true });
    }
  }
  return { config, session };
}

async function feedsOf(facts: Facts, file: SafetensorsFile, i: number): Promise<Parameters<Session['run']>[0]> {
  const s = facts.settings;
  const one = (value: number): Float32Array => Float32Array.of(value);
  const part = async <T extends TensorData>(name: string): Promise<T> => {
    const data = (await file.read(name)) as unknown as T;
    const length = data.length / facts.steps;
    return data.slice(i * length, (i + 1) * length) as T;
  };
  const pixels = async (name: string) => Float32Array.from(await part<Uint8Array>(name), v => (v - 128) / 64);
  return {
    weak: await pixels('weak'),
    strong: await pixels('strong'),
    structural: await part<Int32Array>('structural'),
    present: await part<Float32Array>('present'),
    learningRate: one(cosineRate(i, facts.steps, s.peak, s.floor)),
    step: one(i + 1),
    emaDecay: one(emaDecay(i, s.emaStart, s.emaEnd, s.emaSteps)),
    threshold: one(s.thresholds[i]),
    instanceWeight: one(s.instanceWeight),
    structuralWeight: one(s.structuralWeight),
  };
}

function largestGap(a: Float32Array, b: Float32Array): number {
  let gap = 0;
  for (let i = 0; i < b.length; i++) gap = Math.max(gap, Number.isNaN(a[i]) ? Infinity : Math.abs(a[i] - b[i]));
  return gap;
}

function widen(gaps: Record<string, Gap>, name: string, ours: number, theirs: number): void {
  const before = gaps[name] ?? { ours: 0, theirs: 0 };
  gaps[name] = { ours: Math.max(before.ours, ours), theirs: Math.max(before.theirs, theirs) };
}
