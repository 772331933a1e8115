/** `s3a bench` and a variable that is not set. */
import { expect, test } from 'vitest';
import { s3a } from '../../../test/run-cli.ts';

test('does not take an empty --out for the folder that one is in', async () => {
  const { code, out, err } = await s3a('bench', 'nothing', '--out', '');
  expect([code, out, err]).toEqual([2, '', 'error: the folder of the results has no name\nName it with --out.\n']);
});
