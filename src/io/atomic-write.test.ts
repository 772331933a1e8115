import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { S3aError } from '../errors.ts';
import {
  isTemporary,
  makeFolder,
  openAtomic,
  removeTemporaries,
  writeAtomic,
  writeError,
  writeFully,
} from './atomic-write.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 's3a-atomic-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('writes text, bytes and streams, making folders and leaving nothing else', async () => {
  await writeAtomic(join(folder, 'a/b/text'), 'grüße\n');
  await writeAtomic(join(folder, 'a/b/bytes'), new Uint16Array([1, 2]).subarray(1));
  await writeAtomic(join(folder, 'a/b/stream'), async write => {
    await write('one ');
    await write(Buffer.from('two'));
  });
  expect(readFileSync(join(folder, 'a/b/text'), 'utf8')).toBe('grüße\n');
  expect([...readFileSync(join(folder, 'a/b/bytes'))]).toEqual([2, 0]);
  expect(readFileSync(join(folder, 'a/b/stream'), 'utf8')).toBe('one two');
  expect(readdirSync(join(folder, 'a/b')).sort()).toEqual(['bytes', 'stream', 'text']);
});

test('the old file stays whole until the new one is', async () => {
  const path = join(folder, 'file');
  writeFileSync(path, 'old');
  await writeAtomic(path, async write => {
    await write('ne');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder).filter(isTemporary)).toHaveLength(1);
    await write('w');
  });
  expect(readFileSync(path, 'utf8')).toBe('new');
});

test('a producer that throws leaves the old file and no temporary one, and its own error comes out', async () => {
  const path = join(folder, 'file');
  writeFileSync(path, 'old');
  const failure = writeAtomic(path, async write => {
    await write('half');
    throw new RangeError('the producer failed');
  });
  await expect(failure).rejects.toThrow(new RangeError('the producer failed'));
  expect(readdirSync(folder)).toEqual(['file']);
  expect(readFileSync(path, 'utf8')).toBe('old');
});

test('a folder in the way is one clear line and leaves no temporary file', async () => {
  mkdirSync(join(folder, 'taken'));
  await expect(writeAtomic(join(folder, 'taken'), 'x')).rejects.toMatchObject({
    code: 'WRITE',
    message: `cannot write ${join(folder, 'taken')}: a folder of that name is in the way`,
  });
  expect(readdirSync(folder)).toEqual(['taken']);
});

test('a file where a folder should be is one clear line', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(writeAtomic(join(folder, 'file/inside'), 'x')).rejects.toMatchObject({ code: 'WRITE' });
  await expect(writeAtomic(join(folder, 'x'.repeat(300)), 'x')).rejects.toThrow('the name is too long');
});

test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')(
  'a folder without permission is named',
  async () => {
    chmodSync(folder, 0o500);
    await expect(writeAtomic(join(folder, 'file'), 'x')).rejects.toThrow('permission denied');
    chmodSync(folder, 0o700);
  },
);

test.skipIf(process.platform !== 'linux')('a full device is reported as a full disk', async () => {
  const handle = await open('/dev/full', 'w');
  const error = await writeFully(handle, 'x').catch((thrown: unknown) => writeError('run/labels.csv', thrown));
  await handle.close();
  expect(error).toBeInstanceOf(S3aError);
  expect(error).toMatchObject({ code: 'WRITE', message: 'cannot write run/labels.csv: the disk is full' });
});

test.skipIf(process.platform === 'win32')(
  'a disk that fills up half-way leaves the old file and no temporary one',
  () => {
    // The limit on file size makes the kernel refuse real writes part of the way, in a process of its own.
    const path = join(folder, 'file');
    writeFileSync(path, 'old');
    const module = new URL('../../dist/src/io/atomic-write.js', import.meta.url).href;
    const script = `
    import { writeAtomic } from ${JSON.stringify(module)};
    await writeAtomic(${JSON.stringify(path)}, async write => {
      for (let i = 0; i < 100; i++) await write(new Uint8Array(10_000));
    }).catch(error => console.log(error.code + ' ' + error.message));
  `;
    const command = 'ulimit -f 64; exec "$0" --input-type=module -e "$1"';
    const { stdout, stderr } = spawnSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toBe(`WRITE cannot write ${path}: the file would be larger than the allowed file size\n`);
    expect(readdirSync(folder)).toEqual(['file']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  },
);

test('a killed write leaves a name that is recognised and removed', async () => {
  const module = new URL('../../dist/src/io/atomic-write.js', import.meta.url).href;
  const script = `
    import { openAtomic } from ${JSON.stringify(module)};
    const file = await openAtomic(${JSON.stringify(join(folder, 'file'))});
    await file.write('half');
    process.kill(process.pid, 'SIGKILL');
    await new Promise(done => setTimeout(done, 60_000));
  `;
  spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  expect(readdirSync(folder).map(isTemporary)).toEqual([true]);
  expect(await removeTemporaries(folder)).toBe(1);
  expect(readdirSync(folder)).toEqual([]);
});

test('abort after commit keeps the file; writing after the end is refused', async () => {
  const file = await openAtomic(join(folder, 'file'));
  await file.write('x');
  await file.commit();
  await file.abort();
  expect(readdirSync(folder)).toEqual(['file']);
  await expect(file.write('y')).rejects.toMatchObject({ code: 'WRITE' });
});

test('makeFolder makes what is missing above, and is content with what is there', async () => {
  // Many at once: each meets what others have made in the meantime.
  await Promise.all(Array.from({ length: 40 }, () => makeFolder(join(folder, 'a/b/c'))));
  expect(readdirSync(join(folder, 'a/b'))).toEqual(['c']);
  await makeFolder(folder);
  writeFileSync(join(folder, 'file'), '');
  await expect(makeFolder(join(folder, 'file/below'))).rejects.toMatchObject({
    message: expect.stringContaining('a part of the path is a file, not a folder'),
  });
});

// Node's own recursive mkdir does not return here.
test.runIf(process.platform === 'linux')('makeFolder ends where the system makes no folders', async () => {
  await expect(makeFolder('/proc/s3a/run')).rejects.toMatchObject({
    code: 'WRITE',
    message: 'cannot write /proc/s3a: nothing can be made there',
  });
});
