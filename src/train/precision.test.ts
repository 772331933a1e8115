/** Steps in mixed precision against PyTorch's autocast and GradScaler; what an overflow changes, and what it does not. */
import { describe, expect, test } from 'vitest';
import { feedsOf as goldenFeeds, one, trainGolden } from '../../test/train-golden.ts';
import { compile, type Session, type TensorData } from '../engine/index.ts';
import { lossScaleStart } from '../engine/loss-scale.ts';
import { type StepOptions, stepProgram, trainedShapes } from './step.ts';

type Golden = Awaited<ReturnType<typeof trainGolden>>;

/** The graph counts its own steps. */
function feedsOf(record: Golden, i: number): Record<string, TensorData> {
  const { step: _, ...feeds } = goldenFeeds(record, i);
  return feeds;
}

async function opened(
  { facts, config, start }: Golden,
  scale: number,
  changes: Partial<StepOptions> = {},
): Promise<Session> {
  const { logitScale } = facts.settings;
  const options = { config, batch: facts.batch, names: facts.names, logitScale, precision: 'amp' as const };
  const session = await compile(stepProgram({ ...options, ...changes }), { threads: 1 });
  await session.setState({ ...start, ...lossScaleStart(scale) });
  return session;
}

const bits = (data: TensorData): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');

async function stateOf(session: Session, { config }: Golden): Promise<Record<string, string>> {
  const values = await session.getState(Object.keys(trainedShapes(config)));
  return Object.fromEntries(Object.entries(values).map(([name, data]) => [name, bits(data)]));
}

test('eight steps of a vit equal PyTorch: scales, skipped steps, losses, norms and weights', async () => {
  const record = await trainGolden('half');
  const { facts, tensors } = record;
  const scales = facts.lossScales!;
  expect(scales[1]).toBe(scales[0] / 2);
  const session = await opened(record, scales[0]);
  try {
    for (let i = 0; i < facts.steps; i++) {
      const outputs = await session.run(feedsOf(record, i));
      for (const [key, value] of Object.entries(facts.reports[i])) {
        // float16 has 11 bits, so a logit of 9 is known to 0.004 and a probability to as much of itself.
        expect(outputs[key] as Float32Array, `${key} of step ${i}`).toBeAllclose([value], { rtol: 1e-2, atol: 2e-3 });
      }
      expect(outputs.lossScale[0]).toBe(scales[i]);
    }
    const trained = await session.getState();
    expect(trained['scaler.scale'][0]).toBe(scales.at(-1));
    expect(trained['scaler.updates'][0]).toBe(facts.steps - 1);
    for (const [key, away] of Object.entries(facts.rounding)) {
      // A gradient near 0 leaves its rounding at the size of a step (see step.test.ts): PyTorch's own float16 run ends `away` from
      // float64, and the gradient of a key's bias is exactly 0, so that one moves by rounding alone.
      const atol = key.endsWith('k_proj.bias') ? facts.steps * facts.settings.peak : 1e-4 + 3 * away;
      expect(trained[key] as Float32Array, key).toBeAllclose(tensors.get(key) as Float32Array, { rtol: 1e-3, atol });
    }
  } finally {
    await session.dispose();
  }
});

describe('an overflow', () => {
  test('changes nothing but the scale, which halves until gradients fit', async () => {
    const record = await trainGolden('half');
    const session = await opened(record, 2 ** 40);
    try {
      const before = await stateOf(session, record);
      const seen: number[] = [];
      let skipped = 0;
      for (; skipped < 60; skipped++) {
        const { lossScale, gradientNorm, loss } = await session.run(feedsOf(record, 1));
        seen.push(Number(lossScale[0]));
        expect(loss[0]).toBeLessThan(10);
        if (gradientNorm[0] !== 0) break;
        expect(await stateOf(session, record)).toEqual(before);
      }
      expect(skipped).toBeGreaterThan(10);
      expect(seen).toEqual(seen.map((_, i) => 2 ** (40 - i)));
      const after = await stateOf(session, record);
      expect(Object.keys(after).filter(name => after[name] === before[name])).toEqual([]);
      expect((await session.getState())['scaler.updates'][0]).toBe(1);
    } finally {
      await session.dispose();
    }
  });

  test('in a part of a step skips the whole step, and is gone in the next', async () => {
    const record = await trainGolden('half');
    const [first, second] = [feedsOf(record, 0), feedsOf(record, 1)];
    const session = await opened(record, 2 ** 40, { accumulate: 2 });
    const peer = await opened(record, 2 ** 12, { accumulate: 2 });
    try {
      const before = await stateOf(session, record);
      await session.run({ ...first, keep: one(0), apply: one(0) });
      expect((await session.getState(['scaler.scale']))['scaler.scale'][0]).toBe(2 ** 40);
      await session.run({ ...second, keep: one(1), apply: one(1) });
      expect((await session.getState(['scaler.scale']))['scaler.scale'][0]).toBe(2 ** 39);
      expect(await stateOf(session, record)).toEqual(before);
      await session.setState(lossScaleStart(2 ** 12));
      for (const opened of [session, peer]) {
        await opened.run({ ...first, keep: one(0), apply: one(0) });
        await opened.run({ ...second, keep: one(1), apply: one(1) });
      }
      const after = await stateOf(session, record);
      expect(after).toEqual(await stateOf(peer, record));
      expect(after['student.visual_projection.weight']).not.toBe(before['student.visual_projection.weight']);
    } finally {
      await session.dispose();
      await peer.dispose();
    }
  });
});

test.each(['vit', 'resnet', 'siglip'])('a %s learns in mixed precision what it learns in float32', async name => {
  const record = await trainGolden(name);
  const half = await opened(record, 2 ** 10, { clip: record.facts.settings.clip ?? undefined });
  try {
    for (let i = 0; i < 2; i++) {
      const outputs = await half.run(feedsOf(record, i));
      for (const key of ['loss', 'instanceLoss', 'structuralLoss', 'gradientNorm']) {
        const expected = record.facts.reports[i][key];
        expect(outputs[key] as Float32Array, `${key} of step ${i}`).toBeAllclose([expected], {
          rtol: 2e-2,
          atol: 5e-3,
        });
      }
    }
  } finally {
    await half.dispose();
  }
});

test('blocks that are computed again give the same bits', async () => {
  const record = await trainGolden('half');
  const [kept, again] = [await opened(record, 1024), await opened(record, 1024, { gradCheckpointing: true })];
  try {
    for (const session of [kept, again]) await session.run(feedsOf(record, 1));
    expect(await stateOf(again, record)).toEqual(await stateOf(kept, record));
  } finally {
    await kept.dispose();
    await again.dispose();
  }
});
