/** `s3a eval` as a user meets it, on a run of five images. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { evaluatedRun } from '../../../test/evaluate-fixture.ts';
import { type Outcome, s3a } from '../../../test/run-cli.ts';
import type { RunReport } from '../../run/evaluate-run.ts';

const { run, truth, labelTable } = evaluatedRun();
beforeAll(async () => labelTable(['cat', 'cat', 'cat', 'bird', 'bird'], [1, 1, 1, 1, 1]));

const model = fileURLToPath(new URL('../../../test/goldens/semantic/mpnet', import.meta.url));
const print = (...args: string[]): Promise<Outcome> =>
  s3a('eval', run, '--labels', truth(['cat', 'cat', 'cat', 'bird', 'dog']), ...args);

test('prints plain figures, and with intervals and meanings where asked', async () => {
  const plain = await print();
  expect(plain.code).toBe(0);
  expect(plain.out).not.toMatch(/±|semantic/);
  expect(plain.out).toContain('Expected calibration error of the labels: 20.0\n');
  const { out } = await print('--bootstrap', '500', '--semantic-model', model);
  expect(out).toMatch(/^step .* names found +semantic\n/);
  // Four of five right: the teacher's interval is wide.
  expect(out).toMatch(/\nteacher +80\.0 ± \d\d\.\d .* 2\/3 +\d\d\.\d ± \d+\.\d\n/);
  expect(out).toContain(`by ${model}\n`);
});

test('gives everything as JSON', async () => {
  const { out } = await print('--bootstrap', '--semantic-model', model, '--json');
  const report = JSON.parse(out) as RunReport;
  expect(report.stages.teacher.intervals?.semantic).toMatchObject({ method: 'bca' });
  expect(report.stages.teacher.semantic).toBeGreaterThan(0.5);
  expect(report.calibration?.bins.length).toBe(15);
});

test('refuses what cannot be meant', async () => {
  expect(await print('--bootstrap', 'many')).toMatchObject({
    code: 2,
    err: expect.stringContaining('a whole number'),
  });
  const missing = await print('--semantic-model', join(run, 'none'));
  expect(missing).toMatchObject({ code: 1, out: '', err: expect.stringContaining('there is no folder') });
});
