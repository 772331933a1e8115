import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { type ZipPart, zipOf } from '../../test/zip-writer.ts';
import { S3aError } from '../errors.ts';
import { openZip, type ZipFile } from './zip.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/torch/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-zip-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Opens an archive of these bytes. */
async function open(bytes: Uint8Array): Promise<ZipFile> {
  const path = join(folder, 'x.zip');
  writeFileSync(path, bytes);
  return openZip(path);
}

const text = Buffer.from('some text that is repeated, repeated, repeated, repeated');

test('reads the archives that PyTorch writes', async () => {
  const zip = await openZip(join(goldens, 'state-dict.pt'));
  expect([...zip.entries.keys()].slice(0, 4)).toEqual(
    ['data.pkl', '.format_version', '.storage_alignment', 'byteorder'].map(name => `state-dict/${name}`),
  );
  expect(Buffer.from(await zip.read('state-dict/byteorder', 6)).toString()).toBe('little');
  expect(Buffer.from(await zip.read('state-dict/version', 9)).toString()).toBe('3\n');
  const bytes = readFileSync(zip.path);
  const start = await zip.start('state-dict/data/0');
  const { size } = zip.entries.get('state-dict/data/0')!;
  expect(start % 64).toBe(0);
  expect(size).toBe(48);
  expect(Buffer.from(await zip.read('state-dict/data/0', size)).equals(bytes.subarray(start, start + size))).toBe(true);
  await zip.close();
});

test.each<[string, Partial<ZipPart>, { zip64?: boolean; tail?: string }]>([
  ['stored', { method: 0 }, {}],
  ['deflated', { method: 8 }, {}],
  ['ZIP64', { method: 8, zip64: true }, { zip64: true }],
  ['padded, with a comment', { padding: 37 }, { tail: 'PK a comment' }],
])('reads %s entries', async (_, part, options) => {
  const zip = await open(
    zipOf(
      [
        { name: 'a/ä', data: text, ...part },
        { name: 'empty', data: new Uint8Array() },
      ],
      options,
    ),
  );
  expect([...zip.entries]).toMatchObject([
    ['a/ä', { size: text.length, stored: part.method !== 8 }],
    ['empty', { size: 0, stored: true }],
  ]);
  expect(Buffer.from(await zip.read('a/ä', 100)).equals(text)).toBe(true);
  expect(await zip.read('empty', 0)).toEqual(new Uint8Array());
  await zip.close();
});

const bomb = { name: 'bomb', data: Buffer.alloc(10_000_000), method: 8 };

test.each<[string, Uint8Array, string]>([
  ['is empty', Buffer.alloc(0), 'no directory at its end'],
  ['was cut short', zipOf([{ name: 'a', data: text }]).subarray(0, -1), 'no directory at its end'],
  ['ends in the directory', zipOf([{ name: 'a', data: text }], { end: { 12: 40 } }), 'breaks off at entry 0'],
  ['counts more entries', zipOf([{ name: 'a', data: text }], { end: { 8: 0x0009_0009 } }), 'breaks off at entry 1'],
  ['has its directory outside', zipOf([{ name: 'a', data: text }], { end: { 16: 0xfffffff0 } }), 'outside its'],
  ['has a directory of 4 GB', zipOf([{ name: 'a', data: text }], { end: { 12: 0xfffffff0 } }), 'outside its'],
  ['has two entries of a name', zipOf(['a', 'a'].map(name => ({ name, data: text }))), 'two entries "a"'],
  ['is encrypted', zipOf([{ name: 'a', data: text, claim: { flags: 1 } }]), 'entry "a" is encrypted'],
  ['lies about sizes', zipOf([{ name: 'a', data: text, claim: { size: 7 } }]), 'two sizes'],
  [
    'has an entry of 10 GB',
    zipOf([{ name: 'a', data: text, zip64: true, claim: { size: 1e10, compressed: 1e10 } }]),
    'reaches into',
  ],
  [
    'has an entry of 2^60 bytes',
    zipOf([{ name: 'a', data: text, zip64: true, claim: { size: 2 ** 60 } }]),
    'are no counts',
  ],
  ['has an entry past its end', zipOf([{ name: 'a', data: text, claim: { header: 1e6 } }]), 'reaches into'],
  [
    'has entries that overlap',
    zipOf([
      { name: 'a', data: text },
      { name: 'b', data: text, claim: { header: 20 } },
    ]),
    'entry "a" of 56 bytes at 0 reaches into what follows it',
  ],
  [
    'has entries at one place',
    zipOf([
      { name: 'a', data: text },
      { name: 'b', data: text, claim: { header: 0 } },
    ]),
    'reaches into what follows it',
  ],
])('an archive that %s is one clear line', async (_, bytes, message) => {
  const error = await open(bytes).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(S3aError);
  expect(error).toMatchObject({ code: 'ZIP' });
  expect((error as S3aError).message).toContain(message);
  expect((error as S3aError).message).not.toContain('\n');
});

test.each<[string, Uint8Array, string]>([
  ['inflates to more than it says', zipOf([{ ...bomb, claim: { size: 1000 } }]), 'does not inflate to 1000 bytes'],
  [
    'inflates to less than it says',
    zipOf([{ name: 'bomb', data: text, method: 8, claim: { size: 99 } }]),
    'inflates to 56',
  ],
  ['is too large', zipOf([bomb]), 'entry "bomb" has 10000000 bytes, at most 20000 are read'],
  ['is damaged', zipOf([{ name: 'bomb', data: text, claim: { method: 8 } }]), 'does not inflate'],
  ['has an unknown method', zipOf([{ name: 'bomb', data: text, claim: { method: 12 } }]), 'unknown method 12'],
  ['has no header', zipOf([{ name: 'bomb', data: text, claim: { header: 2 } }]), 'has no header at 2'],
  ['has a header that reaches on', zipOf([{ name: 'bomb', data: text, padding: 0 }]), 'reaches into'],
])('an entry that %s is one clear line', async (what, bytes, message) => {
  if (what === 'has a header that reaches on') bytes[28] = 1;
  const zip = await open(bytes);
  const error = await zip.read('bomb', 20_000).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'ZIP' });
  expect((error as S3aError).message).toContain(message);
  expect((error as S3aError).message).not.toContain('\n');
  await zip.close();
});

test('only stored entries have a start, and absent ones are named', async () => {
  const zip = await open(zipOf([bomb]));
  await expect(zip.start('bomb')).rejects.toThrow('entry "bomb" is compressed');
  await expect(zip.read('toString', 9)).rejects.toThrow('has no entry "toString"');
  await zip.close();
});
