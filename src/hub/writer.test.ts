/** What is pushed is written, in order and once, and a disk that fails is heard of. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as soon } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { random } from '../random.ts';
import { pieceWriter } from './writer.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-writer-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('pieces of any size at any time', async () => {
  const path = join(folder, 'pieces');
  writeFileSync(path, 'before');
  const handle = await open(path, 'r+');
  const positions: number[] = [];
  const writer = pieceWriter(handle, 6, position => positions.push(position));
  const draw = random(3, 'pieces');
  const pieces = Array.from({ length: 300 }, (_, i) => Buffer.alloc(draw.int(5000) + 1, i));
  for (const piece of pieces) {
    await writer.push(piece);
    // The writer becomes idle now and then, and is woken again.
    if (draw.int(3) === 0) await soon();
    if (draw.int(50) === 0) await writer.settle();
  }
  await writer.settle();
  await handle.close();
  const whole = Buffer.concat([Buffer.from('before'), ...pieces]);
  expect(whole.equals(readFileSync(path))).toBe(true);
  expect(positions.at(-1)).toBe(whole.length);
  expect(positions).toEqual([...positions].sort((a, b) => a - b));
});

test.skipIf(process.platform !== 'linux')('a full disk is heard of at the next piece or at the end', async () => {
  const handle = await open('/dev/full', 'r+');
  const writer = pieceWriter(handle, 0, () => {});
  await writer.push(Buffer.alloc(10)).catch(() => {});
  await expect(writer.settle()).rejects.toMatchObject({ code: 'ENOSPC' });
  await expect(writer.push(Buffer.alloc(10))).rejects.toMatchObject({ code: 'ENOSPC' });
  await handle.close();
});
