/** Entries of worker threads: found beside compiled callers, in dist/ for sources, and one clear line in a bundle. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { workerUrl } from '../src/worker-url.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const url = (...path: string[]): string => pathToFileURL(join(root, ...path)).href;

it('is beside a compiled caller, and in dist/ for one that runs from its source', () => {
  const entry = url('dist', 'src', 'engine', 'session-worker.js');
  expect(workerUrl('./session-worker.js', url('dist', 'src', 'engine', 'session-thread.js')).href).toBe(entry);
  expect(workerUrl('./session-worker.js', url('src', 'engine', 'session-thread.ts')).href).toBe(entry);
});

it('says what to do in a bundle, where it is missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3a-bundle-'));
  const bundle = pathToFileURL(join(folder, 'app.js')).href;
  try {
    expect(() => workerUrl('./session-worker.js', bundle)).toThrow(
      expect.objectContaining({
        code: 'INSTALL',
        message: `${join(folder, 'session-worker.js')} is missing from the package`,
        hint: expect.stringContaining('keep s3a out of the bundle') as string,
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
