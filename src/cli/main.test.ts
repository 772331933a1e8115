/** What the process itself answers for: signals, and readers or disks that take no more. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drawImages } from '../../test/drawn-images.ts';

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const model = fileURLToPath(new URL('../../test/goldens/clip/quick_gelu', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-main-'));
const names = join(folder, 'names.txt');

beforeAll(async () => {
  await drawImages(join(folder, 'images'), 12);
  writeFileSync(names, 'disc\nsquare\nstripes\nring\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

function start(out: string, ...more: string[]): ChildProcess {
  const args = ['discover', 'images', '--model', model, '--vocab', 'names.txt', '--k', '3', '--threads', '1'];
  return spawn(process.execPath, [main, ...args, '--out', out, ...more], { cwd: folder });
}

function codeOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', resolve);
  });
}

test('goes on when nobody reads its progress any more', async () => {
  const child = start('unread');
  child.stderr?.destroy();
  expect(await codeOf(child)).toBe(0);
  expect(existsSync(join(folder, 'unread', 'labels.csv'))).toBe(true);
}, 60_000);

test('lets ONNX Runtime tell nobody about it', () => {
  const { CI: _, ORT_DISABLE_TELEMETRY: __, ...env } = process.env;
  const args = ['predict', model, 'images', '--vocab', 'names.txt', '--quiet'];
  const cache = join(folder, 'cache');
  const { status } = spawnSync(process.execPath, [main, ...args], {
    cwd: folder,
    env: { ...env, XDG_CACHE_HOME: cache },
  });
  expect(status).toBe(0);
  // Its telemetry keeps a number of the machine there.
  expect(existsSync(cache)).toBe(false);
});

test.skipIf(process.platform !== 'linux')('says what to do where the address space is limited', () => {
  const args = [main, 'discover', 'images', '--model', model, '--vocab', 'names.txt', '--out', 'limited', '--quiet'];
  const limited = ['-c', 'ulimit -v 16000000; exec "$0" "$@"', process.execPath, ...args];
  const { status, stderr } = spawnSync('bash', limited, { cwd: folder, encoding: 'utf8' });
  expect([status, stderr]).toEqual([1, expect.stringMatching(/^error: .*memory.*\nUse smaller .*ulimit -v/i)]);
});

test('is stopped by SIGTERM as by Ctrl-C', async () => {
  const child = start('stopped');
  let err = '';
  child.stderr?.setEncoding('utf8').on('data', text => {
    if (err === '') child.kill('SIGTERM');
    err += text;
  });
  expect(await codeOf(child)).toBe(143);
  expect(err).toContain('Go on with: s3a discover images --out stopped --resume\n');
  expect(existsSync(join(folder, 'stopped', '.lock'))).toBe(false);
}, 60_000);

test.skipIf(!existsSync('/dev/full'))('says in one line that its result has no room', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [main, 'vocab', names], {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  closeSync(full);
  expect([status, stderr]).toEqual([1, 'error: cannot write to stdout: no space left on device\n']);
});

test('reads ~ as a shell does, where a shell leaves it', () => {
  const env = { ...process.env, HOME: folder };
  const run = (name: string) => spawnSync(process.execPath, [main, 'vocab', name], { env, encoding: 'utf8' });
  expect(run('~/names.txt').stdout).toContain('names: 4 names');
  expect(run('./~/names.txt').stderr).toContain('cannot read the vocabulary ./~/names.txt');
  const { stderr } = spawnSync(process.execPath, [main, 'train', '~/none', '--config=~/c.json'], {
    env,
    encoding: 'utf8',
  });
  expect(stderr).toContain(`cannot read ${folder}/c.json`);
});
