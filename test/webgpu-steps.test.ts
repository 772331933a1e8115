/** Ten steps of training of each kind of tower under WebGPU against PyTorch in float64. */
import { describe, expect, test } from 'vitest';
import type { Precision } from '../src/train/precision.ts';
import { feedsOf, trainGolden } from './train-golden.ts';
import { driver, hasDriver, lacksHalf, onDriver } from './webgpu-driver.ts';

const script = `
import { readFileSync } from 'node:fs';
import { compile, lossScaleStart } from './dist/src/engine/index.js';
import { stepProgram } from './dist/src/train/step.js';
const { options, start, steps, states } = JSON.parse(readFileSync(0, 'utf8'), (_, value) =>
  value?.ints ? Int32Array.from(value.ints) : value?.floats ? Float32Array.from(value.floats) : value);
const session = await compile(stepProgram(options), { device: 'webgpu' });
await session.setState({ ...start, ...(options.precision === 'amp' ? lossScaleStart(1024) : {}) });
const reports = [];
for (const feeds of steps) {
  const outputs = await session.run(feeds);
  reports.push(Object.fromEntries(Object.entries(outputs).map(([name, data]) => [name, data[0]])));
}
const trained = await session.getState(states);
await session.dispose();
console.log(JSON.stringify({ reports, trained: Object.fromEntries(Object.entries(trained).map(([name, data]) => [name, [...data]])) }));
`;

interface Answer {
  reports: Record<string, number>[];
  trained: Record<string, number[]>;
}

async function trainOnGpu(name: string, precision: Precision) {
  const record = await trainGolden(name);
  const { facts, config, start } = record;
  const steps = facts.reports.map((_, i) => {
    const { step, ...feeds } = feedsOf(record, i);
    return precision === 'amp' ? feeds : { step, ...feeds };
  });
  const { logitScale, clip } = facts.settings;
  const options = { config, batch: facts.batch, names: facts.names, logitScale, clip: clip ?? undefined, precision };
  const given = JSON.stringify({ options, start, steps, states: Object.keys(facts.rounding) }, (_, value: unknown) =>
    value instanceof Int32Array ? { ints: [...value] } : value instanceof Float32Array ? { floats: [...value] } : value,
  );
  return { record, ...(JSON.parse(onDriver(script, given)) as Answer) };
}

describe.skipIf(!hasDriver)(`webgpu (needs ${driver})`, () => {
  test.each(['vit', 'resnet', 'siglip'])(
    'a %s takes the steps that it takes in PyTorch',
    async name => {
      const { record, reports, trained } = await trainOnGpu(name, 'fp32');
      const { facts, tensors } = record;
      for (const [i, expected] of facts.reports.entries()) {
        for (const [key, value] of Object.entries(expected)) {
          expect([reports[i][key]], `${key} of step ${i}`).toBeAllclose([value], { rtol: 1e-4, atol: 2e-5 });
        }
      }
      for (const [key, rounding] of Object.entries(facts.rounding)) {
        // As in step.test.ts, with other orders of sums.
        const atol = /(?:k_proj\.|in_proj_)bias$/.test(key) ? facts.steps * facts.settings.peak : 2e-6 + 20 * rounding;
        expect(trained[key], key).toBeAllclose(tensors.get(key) as Float32Array, { rtol: 1e-5, atol });
      }
    },
    180_000,
  );

  test.for(['vit', 'resnet', 'siglip'])(
    'a %s takes them in mixed precision, within float16',
    { timeout: 180_000 },
    async (name, { skip }) => {
      let found: Awaited<ReturnType<typeof trainOnGpu>>;
      try {
        found = await trainOnGpu(name, 'amp');
      } catch (error) {
        if (lacksHalf(error)) return skip('no float16 here');
        throw error;
      }
      const { facts } = found.record;
      for (const i of [0, 1, 2]) {
        for (const key of ['loss', 'instanceLoss', 'structuralLoss', 'gradientNorm']) {
          const value = facts.reports[i][key];
          expect([found.reports[i][key]], `${key} of step ${i}`).toBeAllclose([value], { rtol: 1e-2, atol: 5e-3 });
        }
      }
    },
  );
});
