import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { evaluatedRun } from '../../test/evaluate-fixture.ts';
import { evaluateRun } from './evaluate-run.ts';
import type { RunEvent } from './events.ts';

const { run, write, truth, labelTable } = evaluatedRun();
beforeAll(async () => labelTable(['cat', 'cat', 'cat', 'bird', 'bird'], [1, 1, 1, 1, 1]));

test('every step against the truth, with ranks where features give them', async () => {
  const report = await evaluateRun(run, truth(['Cat', 'cat', 'cat', 'bird', 'bird']));
  expect(report).toMatchObject({ images: 5, unlabelled: 0, classes: 2, outsideVocabulary: [] });
  expect(Object.keys(report.stages)).toEqual(['zero_shot', 'vote_1', 'teacher']);
  // 0° and 10° are cat, 90° is bird; 40° and 50° are nearest to dog, which is none of the true names.
  expect(report.stages.zero_shot.accuracy).toEqual({ 1: 3 / 5, 3: 1 });
  expect(report.stages.vote_1.accuracy).toEqual({ 1: 1 });
  expect(report.stages.teacher.accuracy).toEqual({ 1: 1 });
  // Among the true names 40° is cat and 50° is bird.
  expect(report.bound?.accuracy).toEqual({ 1: 1 });
  expect(report.clusters.accuracy).toBe(4 / 5);
  expect(report.stages.zero_shot.names).toMatchObject({ missing: [], extra: ['dog'] });
});

test('intervals, semantic scores, calibration and labels that are unknown, where there is something to say', async () => {
  const labels = ['cat', 'unknown', 'cat', 'bird', 'bird'];
  const rows = readFileSync(join(run, 'labels.parquet'));
  await labelTable(labels, [0.9, 0.1, 0.8, 0.7, 0.6]);
  const model = fileURLToPath(new URL('../../test/goldens/semantic/mpnet', import.meta.url));
  const heard: RunEvent[] = [];
  const report = await evaluateRun(
    run,
    truth(['cat', 'cat', 'cat', 'dog', 'bird']),
    { semanticModel: model, bootstrap: { samples: 200 } },
    { onEvent: event => heard.push(event) },
  );
  writeFileSync(join(run, 'labels.parquet'), rows);
  const { label, teacher, zero_shot: zeroShot } = report.stages;
  expect(label).toMatchObject({ images: 5, named: 4, accuracy: { 1: 3 / 5 } });
  expect(teacher.named).toBe(5);
  expect(label.names.extra).toEqual([]);
  // The unknown one adds nothing, the right ones one each.
  expect(teacher.semantic! - label.semantic!).toBeCloseTo(1 / 5, 6);
  expect(zeroShot.intervals?.semantic?.estimate).toBeCloseTo(zeroShot.semantic!, 12);
  expect(teacher.intervals?.accuracy[1]).toMatchObject({ estimate: 4 / 5 });
  expect(report.clusters.interval).toMatchObject({ estimate: report.clusters.accuracy, method: 'bca' });
  expect(report.bound?.intervals?.accuracy).toHaveProperty('1');
  expect(report).toMatchObject({ semanticModel: model, calibration: { images: 4, accuracy: 3 / 4 } });
  expect(report.calibration!.ece).toBeCloseTo((0.1 + 0.2 + 0.7 + 0.4) / 4, 6);
  expect(heard).toContainEqual({ type: 'progress', stage: 'evaluate', done: 3, total: 3 });
  await expect(evaluateRun(run, join(run, 'truth.csv'), { semanticModel: run })).rejects.toThrow('no onnx/model.onnx');
  await expect(
    evaluateRun(run, join(run, 'truth.csv'), {}, { signal: AbortSignal.abort(new Error('enough')) }),
  ).rejects.toThrow('enough');
});

test('images without a label are left out; a true name outside the vocabulary is said', async () => {
  const report = await evaluateRun(run, truth(['cat', 'unicorn']));
  expect(report).toMatchObject({ images: 2, unlabelled: 3, outsideVocabulary: ['unicorn'] });
  expect(report.stages.zero_shot.accuracy[1]).toBe(1 / 2);
  expect(report).not.toHaveProperty('bound');
});

test('labels of other images, and folders that are no runs, are one clear line', async () => {
  await expect(evaluateRun(run, write('other.csv', 'file_name,label\nx.png,cat\n'))).rejects.toMatchObject({
    code: 'LABELS',
    message: expect.stringContaining('none of the 5 images'),
    hint: expect.stringContaining('"0.png"'),
  });
  await expect(evaluateRun(join(run, 'embeddings'), 'x')).rejects.toThrow('there is no run in');
});
