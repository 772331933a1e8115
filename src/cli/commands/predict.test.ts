/** `s3a predict`: what is wrong with its result's place is said before any work. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { s3a } from '../../../test/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-predict-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'file'), '');

test.each([
  ['labels.txt', 'labels.txt is not a .csv, .jsonl or .parquet file'],
  ['file/labels.csv', 'file: '],
])('a result in %s is refused before the model is looked for', async (name, message) => {
  const { code, out, err } = await s3a('predict', join(folder, 'no-model'), folder, '--out', join(folder, name));
  expect([code, out]).toEqual([1, '']);
  expect(err).toContain(message);
});
