import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { hashBytes } from '../io/hash.ts';
import { writeNpy } from '../io/npy.ts';
import { openPrototypeCache, type PrototypeCache } from './prototype-cache.ts';
import { PART, prototypes } from './prototypes.ts';

const root = mkdtempSync(join(tmpdir(), 's3a-prototype-cache-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
let warnings: string[];
beforeEach(() => {
  folder = mkdtempSync(join(root, 'case-'));
  warnings = [];
});

const key = hashBytes('a key');
const place = (): string => join(folder, key.slice(0, 32));
const rows = Float32Array.from({ length: 12 }, (_, i) => Math.fround(i / 7));

function open(more: { folder?: string; key?: string; width?: number; limit?: number } = {}): PrototypeCache {
  return openPrototypeCache({ folder, key, width: 4, warn: message => warnings.push(message), ...more });
}

test('keeps parts for others with the same key', async () => {
  const cache = open();
  expect(await cache.read(0, 3)).toBeUndefined();
  await cache.write(0, rows);
  await cache.write(1, rows.subarray(0, 4));
  await cache.trim();
  const later = open();
  expect(await later.read(0, 3)).toEqual(rows);
  expect(await later.read(1, 1)).toEqual(rows.slice(0, 4));
  expect(await later.read(2, 3)).toBeUndefined();
  expect(later.found).toBe(4);
  expect(await open({ key: hashBytes('another') }).read(0, 3)).toBeUndefined();
  expect(warnings).toEqual([]);
});

test.each<[string, (path: string) => void | Promise<void>, string]>([
  ['a flipped bit', path => flip(path, -1), 'has other bytes than its name says'],
  ['a damaged header', path => flip(path, 1), 'does not begin with'],
  ['a file cut short', path => truncateSync(path, 140), 'follow the header'],
  ['an empty file', path => truncateSync(path, 0), 'are too few'],
  ['another shape', path => writeNpy(path, '<f4', [4, 3], rows), 'has <f4 of shape (4,3)'],
  ['another type', path => writeNpy(path, '<i4', [3, 4], new Int32Array(12)), 'has <i4 of shape (3,4)'],
  [
    'no .npy at all',
    path => writeFileSync(path, 'not an array, but long enough to be looked at'),
    'is not a .npy file',
  ],
])('%s is not trusted', async (_, damage, why) => {
  await open().write(0, rows);
  const [file] = readdirSync(place());
  await damage(join(place(), file));
  const cache = open();
  expect(await cache.read(0, 3)).toBeUndefined();
  expect(cache.found).toBe(0);
  expect(warnings).toEqual([expect.stringContaining(why)]);
  await cache.write(0, rows);
  expect(await open().read(0, 3)).toEqual(rows);
});

test('what is computed before an interruption is not computed again', async () => {
  const names = Array.from({ length: 3 * PART }, (_, i) => `${i}`);
  const asked: string[] = [];
  const embed = async (texts: readonly string[]): Promise<Float32Array> => {
    asked.push(...texts);
    return Float32Array.from(texts.flatMap(text => [1, Number(text), 0, 0]));
  };
  const stopped = async (texts: readonly string[]): Promise<Float32Array> => {
    if (asked.length >= 2 * PART) throw new Error('stopped');
    return embed(texts);
  };
  await expect(prototypes(names, ['{}'], stopped, undefined, open())).rejects.toThrow('stopped');
  expect(asked).toEqual(names.slice(0, 2 * PART));
  const found = open();
  const rows = await prototypes(names, ['{}'], embed, undefined, found);
  expect(asked).toEqual(names);
  expect(found.found).toBe(2 * PART);
  expect(rows).toEqual(await prototypes(names, ['{}'], embed));
});

test('a folder that cannot be written to is one warning', async () => {
  const blocked = join(folder, 'file');
  writeFileSync(blocked, '');
  const cache = open({ folder: blocked });
  expect(await cache.read(0, 3)).toBeUndefined();
  await cache.write(0, rows);
  await cache.write(1, rows);
  await cache.trim();
  expect(warnings).toEqual([expect.stringMatching(/^prototypes are not kept for other runs: cannot write .*folder/)]);
});

test('tables that were used longest ago make room, and nothing else is touched', async () => {
  const keys = ['a', 'b', 'c', 'd'].map(hashBytes);
  const tables = keys.map(one => one.slice(0, 32));
  mkdirSync(join(folder, 'something else'));
  writeFileSync(join(folder, 'note.txt'), 'keep');
  for (const [i, one] of keys.slice(0, 3).entries()) {
    await open({ key: one }).write(0, rows);
    utimesSync(join(folder, tables[i]), 1000 + i, 1000 + i);
  }
  const size = readFileSync(join(folder, tables[0], readdirSync(join(folder, tables[0]))[0])).length;
  // Reading the first makes it the latest.
  const reader = open({ key: keys[0], limit: 3 * size });
  await reader.read(0, 3);
  await reader.trim();
  const writer = open({ key: keys[3], limit: 3 * size });
  await writer.write(0, rows);
  await writer.trim();
  expect(readdirSync(folder).sort()).toEqual(['note.txt', 'something else', ...[0, 2, 3].map(i => tables[i])].sort());
  // What is in use stays, however large.
  await open({ key: keys[3], limit: 1 }).trim();
  expect(readdirSync(folder).sort()).toEqual(['note.txt', 'something else', tables[3]].sort());
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at < 0 ? bytes.length + at : at] ^= 1;
  writeFileSync(path, bytes);
}
