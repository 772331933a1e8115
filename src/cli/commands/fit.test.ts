/** `s3a fit --dry-run` on images that are not there. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { s3a } from '../../../test/run-cli.ts';

test.each(['fit', 'discover'])('%s estimates nothing where there are no images', async verb => {
  const { code, out, err } = await s3a(verb, join(tmpdir(), 's3a-nowhere'), '--model', 'demo', '--dry-run');
  expect([code, out]).toEqual([1, '']);
  expect(err).toContain('s3a-nowhere cannot be read: no such file or directory');
});
