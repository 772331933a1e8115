/** What ONNX Runtime tells its makers: nothing. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 's3a-telemetry-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const engine = new URL('../../dist/src/engine/index.js', import.meta.url).href;
const script = `
  const { add, compile, input, program } = await import(${JSON.stringify(engine)});
  const session = await compile(program({ y: add(input('x', 'float32', [1]), 1) }));
  process.stdout.write(String((await session.run({ x: Float32Array.of(1) })).y[0]));
  await session.dispose();`;

/** Whether a program that uses the engine leaves something in the user's cache folder, where the number of the machine is kept. */
function leaves(asked: Record<string, string>): boolean {
  const cache = join(folder, JSON.stringify(asked));
  // Nothing else of this process's environment: ONNX Runtime is silent anyway where a variable says that it is in CI.
  const env = { PATH: process.env.PATH, XDG_CACHE_HOME: cache, ...asked };
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { env, encoding: 'utf8' });
  expect(stdout).toBe('2');
  return existsSync(cache);
}

// Where it lies elsewhere, and on Windows, there would be nothing to see.
test.skipIf(process.platform !== 'linux')('keeps no number of the machine, unless it is asked to', () => {
  expect(leaves({})).toBe(false);
  expect(leaves({ ORT_DISABLE_TELEMETRY: '0' })).toBe(true);
});
