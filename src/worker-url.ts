/** Where the entries of worker threads lie. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { S3aError } from './errors.ts';

/** What to do when a file of the package is not where it belongs. */
export const INSTALL_HINT =
  'Install s3a again; where a bundler made one file of it, keep s3a out of the bundle (as an external package).';

/**
 * Where a worker thread's entry lies. Worker threads load compiled JavaScript only; when the caller itself runs from
 * its TypeScript source (under vitest), the entry is the one in `dist/`, which `npm test` builds first.
 * @throws S3aError INSTALL when it is not there, as in a bundle
 */
export function workerUrl(relative: string, callerUrl: string): URL {
  const beside = new URL(relative, callerUrl);
  const root = new URL('../', import.meta.url).href;
  const url = callerUrl.endsWith('.ts') ? new URL(beside.href.replace(root, `${root}dist/`)) : beside;
  if (existsSync(url)) return url;
  throw new S3aError('INSTALL', `${fileURLToPath(url)} is missing from the package`, INSTALL_HINT);
}
