import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { cacheFolder } from './cache-folder.ts';

test('the cache is where the environment says, or in the home folder', () => {
  const home = join(homedir(), '.cache', 's3a');
  expect(cacheFolder({ S3A_CACHE: '/a/b', XDG_CACHE_HOME: '/c' })).toBe(resolve('/a/b'));
  expect(cacheFolder({ S3A_CACHE: 'here' })).toBe(resolve('here'));
  expect(cacheFolder({ S3A_CACHE: '', XDG_CACHE_HOME: '/c' })).toBe(join('/c', 's3a'));
  expect(cacheFolder({ XDG_CACHE_HOME: 'not/absolute' })).toBe(home);
  expect(cacheFolder({})).toBe(home);
});
