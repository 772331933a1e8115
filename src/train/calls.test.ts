/** Calls of several runs: what is stacked, how far ahead, and what a call may hold on which device. */
import { describe, expect, it } from 'vitest';
import { parseClipConfig } from '../clip/towers/config.ts';
import { input, program, sum, type TensorData } from '../engine/index.ts';
import { callsOf, fedBytes, resultsOf, runsPerCall } from './calls.ts';
import { stepProgram } from './step.ts';

/** Runs that count how many were asked for, and whether their source was left. */
function counted(total: number, fails = Number.NaN) {
  const told = { made: 0, closed: false };
  async function* runs(): AsyncGenerator<{ feeds: Record<string, TensorData>; name: string }> {
    try {
      for (let i = 0; i < total; i++) {
        if (i === fails) throw new Error(`run ${i}`);
        told.made++;
        yield { feeds: { x: Float32Array.of(i, i + 0.5), label: Int32Array.of(i) }, name: `run ${i}` };
      }
    } finally {
      told.closed = true;
    }
  }
  return { told, runs: runs() };
}

const settle = () => new Promise(resolve => setTimeout(resolve, 5));

describe('calls', () => {
  it('stack runs in their order, the last ones in a shorter call', async () => {
    const calls = [];
    for await (const call of callsOf(counted(7).runs, { most: 3, total: 7, runs: 1 })) calls.push(call);
    expect(calls.map(({ runs }) => runs.map(({ name }) => name))).toEqual([
      ['run 0', 'run 1', 'run 2'],
      ['run 3', 'run 4', 'run 5'],
      ['run 6'],
    ]);
    expect(calls.map(({ feeds }) => feeds)).toEqual([
      { x: Float32Array.of(0, 0.5, 1, 1.5, 2, 2.5), label: Int32Array.of(0, 1, 2) },
      { x: Float32Array.of(3, 3.5, 4, 4.5, 5, 5.5), label: Int32Array.of(3, 4, 5) },
      { x: Float32Array.of(6, 6.5), label: Int32Array.of(6) },
    ]);
    expect(Object.keys(calls[0].runs[0])).toEqual(['name']);
  });

  it('have what there is where there is less than was told', async () => {
    const lengths: number[] = [];
    for await (const { feeds } of callsOf(counted(5).runs, { most: 4, total: Infinity, runs: 1 })) {
      lengths.push(feeds.x.length, feeds.label.length);
    }
    expect(lengths).toEqual([8, 4, 2, 1]);
  });

  it('of one run leave feeds as they are and make none ahead', async () => {
    const { told, runs } = counted(3);
    let seen = 0;
    for await (const { feeds } of callsOf(runs, { most: 1, total: 3, runs: 1 })) {
      await settle();
      expect(told.made).toBe(++seen);
      expect(feeds.x).toEqual(Float32Array.of(seen - 1, seen - 0.5));
    }
    expect(seen).toBe(3);
  });

  it('of less than a step end with the step', async () => {
    const sizes: number[] = [];
    for await (const { runs } of callsOf(counted(10).runs, { most: 3, total: 10, runs: 5 })) sizes.push(runs.length);
    expect(sizes).toEqual([3, 2, 3, 2]);
  });

  it('are made one ahead, and no more', async () => {
    const { told, runs } = counted(12);
    const made: number[] = [];
    for await (const _ of callsOf(runs, { most: 3, total: 12, runs: 1 })) {
      await settle();
      made.push(told.made);
    }
    expect(made).toEqual([6, 9, 12, 12]);
  });

  it('are told ahead where feeds are staged, one run a call too', async () => {
    for (const most of [1, 3]) {
      const { told, runs } = counted(6);
      const staged: object[] = [];
      const used: object[] = [];
      const made: number[] = [];
      for await (const { feeds } of callsOf(runs, { most, total: 6, runs: 1, stage: feeds => staged.push(feeds) })) {
        used.push(feeds);
        await settle();
        made.push(told.made);
      }
      // The very objects, since by them a session knows what it has.
      expect(staged).toHaveLength(6 / most);
      expect(staged.every((feeds, i) => feeds === used[i])).toBe(true);
      expect(made).toEqual(most === 1 ? [2, 3, 4, 5, 6, 6] : [6, 6]);
    }
  });

  it('close their source when they are left, amidst a call that is being made', async () => {
    const { told, runs } = counted(100);
    for await (const _ of callsOf(runs, { most: 30, total: 100, runs: 1 })) break;
    expect(told.closed).toBe(true);
    expect(told.made).toBeLessThan(60);
  });

  it('fail when the turn of the run comes that failed', async () => {
    const { told, runs } = counted(9, 5);
    const names: string[] = [];
    const all = async () => {
      for await (const call of callsOf(runs, { most: 3, total: 9, runs: 1 })) {
        names.push(call.runs[0].name);
        await settle();
      }
    };
    await expect(all()).rejects.toThrow('run 5');
    expect(names).toEqual(['run 0']);
    expect(told.closed).toBe(true);
  });

  it('return what each run returned', () => {
    const outputs = { loss: Float32Array.of(1, 2, 3), n: Int32Array.of(4, 5, 6) };
    expect(resultsOf(outputs, 1)).toEqual({ loss: Float32Array.of(2), n: Int32Array.of(5) });
  });
});

describe('runs of a call', () => {
  const large = stepProgram({
    config: parseClipConfig({ vision_config: { num_hidden_layers: 1, patch_size: 16 } }),
    ...{ batch: 128, names: 10, logitScale: 100 },
  });
  const small = program({ y: sum(input('x', 'float32', [100])) });
  const cuda = { device: 'cuda', runs: 1 } as const;

  it('are one where states stay, and as many as fit on cuda', () => {
    for (const device of ['cpu', 'webgpu'] as const) {
      expect(runsPerCall(large, { device, runs: 1 })).toBe(1);
      expect(runsPerCall(large, { device, runs: 1, stepsPerExecution: 1 })).toBe(1);
    }
    // Two views of 128 images of 224 pixels a side are 154 MB.
    expect(fedBytes(large)).toBe(2 * 4 * 128 * 3 * 224 ** 2 + 2 * 4 * 128 + 6 * 4);
    expect(runsPerCall(large, cuda)).toBe(13);
    expect(runsPerCall(small, cuda)).toBe(32);
  });

  it('are whole steps, or parts of one', () => {
    expect(runsPerCall(large, { ...cuda, runs: 5 })).toBe(10);
    expect(runsPerCall(large, { ...cuda, runs: 16 })).toBe(13);
    expect(runsPerCall(small, { ...cuda, runs: 16 })).toBe(512);
    expect(runsPerCall(small, { device: 'cpu', runs: 4, stepsPerExecution: 3 })).toBe(12);
    expect(runsPerCall(small, { ...cuda, runs: 4, stepsPerExecution: 1 })).toBe(4);
  });

  it('are refused where they cannot be', () => {
    expect(() => runsPerCall(small, { device: 'webgpu', runs: 1, stepsPerExecution: 2 })).toThrow(
      'webgpu cannot run 2 steps a call',
    );
    expect(() => runsPerCall(large, { ...cuda, stepsPerExecution: 100 })).toThrow(
      expect.objectContaining({ code: 'STEPS', hint: 'Give at most --steps-per-execution 27.' }),
    );
  });
});
