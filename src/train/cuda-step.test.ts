/** The step as CUDA gets it, a loop of several in a call, run by the CPU provider: against PyTorch, and that it is as traced. */
import { describe, expect, it, test } from 'vitest';
import { expectTrained, feedsOf as goldenFeeds, trainGolden } from '../../test/train-golden.ts';
import { parseClipConfig } from '../clip/towers/config.ts';
import { lossScaleStart, type Program, type TensorData } from '../engine/index.ts';
import { planOf, type SessionPlan } from '../engine/session-plan.ts';
import { SessionThread } from '../engine/session-thread.ts';
import { callsOf, resultsOf } from './calls.ts';
import { type StepOptions, stepProgram } from './step.ts';

type Golden = Awaited<ReturnType<typeof trainGolden>>;

/** A session of the plan for CUDA on the CPU provider. */
async function opened(graph: Program, steps: number, start: Record<string, TensorData>): Promise<SessionThread> {
  const plan = await planOf(graph, 'cuda', { threads: 1, frozen: true, steps });
  expect(plan.options.executionProviders).toEqual(['cuda', 'cpu']);
  const onCpu: SessionPlan = { ...plan, options: { ...plan.options, executionProviders: ['cpu'] } };
  const thread = new SessionThread(onCpu);
  await thread.ready;
  await thread.ask({ kind: 'set', data: start });
  return thread;
}

function graphOf({ facts, config }: Golden, changes: Partial<StepOptions> = {}): Program {
  const { logitScale, clip } = facts.settings;
  const sizes = { config, batch: facts.batch, names: facts.names, logitScale };
  return stepProgram({ ...sizes, clip: clip ?? undefined, ...changes });
}

async function* stepsOf(record: Golden, isHalf = false) {
  for (let i = 0; i < record.facts.steps; i++) {
    const { step, ...feeds } = goldenFeeds(record, i);
    yield { feeds: isHalf ? feeds : { ...feeds, step } };
  }
}

describe.each(['vit', 'resnet', 'siglip'])('ten steps of a %s in calls of four equal PyTorch', name => {
  it('losses, gradient norms, student and teacher', async () => {
    const record = await trainGolden(name);
    const { facts, start } = record;
    const thread = await opened(graphOf(record), 4, start);
    try {
      const reports = [];
      for await (const call of callsOf(stepsOf(record), { most: 4, total: facts.steps, runs: 1 })) {
        const outputs = (await thread.ask({ kind: 'run', data: call.feeds }))!;
        reports.push(...call.runs.map((_, i) => resultsOf(outputs, i)));
      }
      for (const [i, report] of facts.reports.entries()) {
        for (const [key, value] of Object.entries(report)) {
          // The tolerances are those of step.test.ts, for its reasons.
          expect(reports[i][key] as Float32Array, `${key} of step ${i}`).toBeAllclose([value], {
            rtol: 2e-5,
            atol: 1e-5,
          });
        }
      }
      const trained = (await thread.ask({ kind: 'get', names: Object.keys(facts.rounding) }))!;
      expectTrained(trained, record);
    } finally {
      await thread.dispose();
    }
  });
});

test('eight steps in mixed precision in calls of three have the scales and skipped steps of PyTorch', async () => {
  const record = await trainGolden('half');
  const { facts, start } = record;
  const scales = facts.lossScales!;
  const begun = { ...start, ...lossScaleStart(scales[0]) };
  const thread = await opened(graphOf(record, { precision: 'amp' }), 3, begun);
  try {
    const seen: number[] = [];
    for await (const call of callsOf(stepsOf(record, true), { most: 3, total: facts.steps, runs: 1 })) {
      const outputs = (await thread.ask({ kind: 'run', data: call.feeds }))!;
      seen.push(...(outputs.lossScale as Float32Array));
    }
    expect(seen).toEqual(scales.slice(0, facts.steps));
    const names = ['scaler.scale', 'scaler.updates'];
    const after = (await thread.ask({ kind: 'get', names }))!;
    expect(names.map(name => after[name][0])).toEqual([scales.at(-1), facts.steps - 1]);
  } finally {
    await thread.dispose();
  }
});

// Towers whose rows would be made wider for a CPU, and whose convolutions would go by blocks of channels.
const transformer = { hidden_size: 1024, intermediate_size: 1024, num_attention_heads: 2, num_hidden_layers: 2 };
const image = { image_size: 32, patch_size: 8 };
const TOWERS = {
  clip: { vision_config: { ...transformer, ...image } },
  siglip: { model_type: 'siglip', vision_config: { ...transformer, ...image }, text_config: { projection_size: 1024 } },
  residual: {
    vision_config: {
      ...{
        model_type: 's3a_resnet',
        image_size: 32,
        stem_width: 32,
        stem_pool: true,
        widths: [32, 64],
        blocks: [1, 1],
      },
      ...{ block: 'basic', pool: 'attention', num_attention_heads: 2 },
    },
  },
};
const CHANGES: Partial<StepOptions>[] = [
  {},
  { gradCheckpointing: true },
  { precision: 'amp' },
  { precision: 'amp', clip: 1, accumulate: 2 },
];

describe.each(Object.entries(TOWERS))('the step of a %s tower for cuda', (_, raw) => {
  const config = parseClipConfig(raw);
  const graphs = CHANGES.map(changes => stepProgram({ config, batch: 2, names: 9, logitScale: 10, ...changes }));

  it('is what was traced: updates and shapes, with nothing for the kernels of a CPU', async () => {
    for (const graph of graphs) {
      for (const steps of [undefined, 4]) {
        const plan = await planOf(graph, 'cuda', { frozen: true, steps });
        expect(plan.updates).toEqual([]);
        expect(plan.inputs.every(({ shape, given }) => shape === given)).toBe(true);
        expect(plan.outputs.filter(({ name }) => name.startsWith(':'))).toEqual([]);
        expect(plan.outputs).toHaveLength(graph.outputs.size);
        expect(Buffer.from(plan.model).includes('nchwc')).toBe(false);
      }
    }
  });
});

test('weights that do not change are constants under CUDA, where that is asked for', async () => {
  const graph = stepProgram({ config: parseClipConfig(TOWERS.clip), batch: 2, names: 9, logitScale: 10 });
  const constants = async (device: 'cuda' | 'cpu', frozen: boolean | 'cuda'): Promise<string[]> =>
    (await planOf(graph, device, { frozen })).inputs.filter(input => input.frozen).map(({ name }) => name);
  expect(await constants('cuda', 'cuda')).toEqual(['head']);
  expect(await constants('cuda', false)).toEqual([]);
  expect(await constants('cpu', 'cuda')).toEqual([]);
  expect(await constants('cpu', true)).toEqual(['head']);
});

test('a CPU would get something else', async () => {
  const graph = stepProgram({ config: parseClipConfig(TOWERS.clip), batch: 2, names: 9, logitScale: 10 });
  const plan = await planOf(graph, 'cpu', {});
  expect(plan.updates.length).toBeGreaterThan(0);
  expect(plan.inputs.some(({ shape, given }) => shape !== given)).toBe(true);
});
