import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hashBytes, hashFile, hashJson } from './hash.ts';
import { readJson, stableStringify } from './json.ts';

test('hashes are SHA-256 (FIPS 180-2, example B.1)', async () => {
  const digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(hashBytes('abc')).toBe(digest);
  expect(hashBytes(new Uint16Array([0, 0x6261, 0x0063]).subarray(1))).not.toBe(digest);
  const folder = mkdtempSync(join(tmpdir(), 's3a-hash-'));
  writeFileSync(join(folder, 'abc'), 'abc');
  expect(await hashFile(join(folder, 'abc'))).toBe(digest);
  await expect(hashFile(join(folder, 'absent'))).rejects.toMatchObject({ code: 'READ' });
  rmSync(folder, { recursive: true });
});

test('the hash of JSON does not depend on the order of keys, and does on everything else', () => {
  expect(hashJson({ a: 1, b: { c: [1, 2], d: undefined } })).toBe(hashJson({ b: { c: [1, 2] }, a: 1 }));
  expect(hashJson({ a: [1, 2] })).not.toBe(hashJson({ a: [2, 1] }));
  expect(hashJson({ a: 1 })).not.toBe(hashJson({ a: '1' }));
});

test('stable text is valid JSON of the same value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      expect(JSON.parse(stableStringify(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
    { seed: 5 },
  );
});

test('what JSON cannot hold is refused instead of becoming null or {}', () => {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  for (const value of [Number.NaN, 1n, undefined, loop, new Map(), new Float32Array(1), () => 0]) {
    expect(() => stableStringify({ a: 1, b: [value === undefined ? Number.POSITIVE_INFINITY : value] })).toThrow(
      'no JSON text',
    );
  }
  expect(stableStringify({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
});

test('a JSON file that is absent, too large, broken or not UTF-8 is one clear line', async () => {
  const folder = mkdtempSync(join(tmpdir(), 's3a-json-'));
  const path = join(folder, 'x.json');
  await expect(readJson(path)).rejects.toMatchObject({ code: 'READ' });
  writeFileSync(path, '{"a": [1, 2]}');
  expect(await readJson(path)).toEqual({ a: [1, 2] });
  await expect(readJson(path, 5)).rejects.toThrow('13 bytes, at most 5');
  writeFileSync(path, '{"a": ');
  await expect(readJson(path)).rejects.toMatchObject({ code: 'JSON' });
  writeFileSync(path, Buffer.from([0x22, 0xff, 0x22]));
  await expect(readJson(path)).rejects.toMatchObject({ code: 'JSON' });
  rmSync(folder, { recursive: true });
});
