import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { type ExpectedTensor, tensorFileCases } from '../../test/tensor-file.cases.ts';
import type { S3aError } from '../errors.ts';
import { openSafetensors } from './safetensors.ts';
import { openShards } from './shards.ts';
import { combine } from './tensor-file.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/torch/', import.meta.url));
const golden = JSON.parse(readFileSync(join(goldens, 'golden.json'), 'utf8')) as Record<
  string,
  Record<string, ExpectedTensor>
>;
const folder = mkdtempSync(join(tmpdir(), 's3a-shards-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const indices = Object.keys(golden).filter(name => name.endsWith('.index.json'));
test('there are goldens of both formats', () => expect(indices).toHaveLength(2));
for (const name of indices) tensorFileCases(name, () => openShards(join(goldens, name)), golden[name]);

const index = join(folder, 'model.safetensors.index.json');
const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const map = Object.fromEntries([0, 1, 2, 3].map(i => [`layers.${i}.weight`, shards[i < 2 ? 0 : 1]]));

/** Copies the shards anew, writes this index beside them and gives what opening it throws. */
async function openingFails(content: unknown): Promise<S3aError> {
  cpSync(join(goldens, 'sharded-safetensors'), folder, { recursive: true });
  writeFileSync(index, typeof content === 'string' ? content : JSON.stringify(content));
  return openShards(index).then(
    () => Promise.reject(new Error('it was opened')),
    (error: S3aError) => error,
  );
}

test.each<[string, unknown]>([
  ['another folder', '../model-00001-of-00002.safetensors'],
  ['a folder inside', 'sub/model.safetensors'],
  ['an absolute path', '/etc/passwd.safetensors'],
  ["Windows' separators", '..\\model.safetensors'],
  ['a hidden file', '.safetensors'],
  ['two dots', '..safetensors'],
  ['another extension', 'model.json'],
  ['a line break', 'a\n.safetensors'],
  ['a NUL', 'a\0.safetensors'],
  ['an empty name', ''],
  ['a number', 7],
  ['null', null],
  ['a list', ['model-00001-of-00002.safetensors']],
])('an index that leads to %s is one clear line', async (_, shard) => {
  const error = await openingFails({ weight_map: { ...map, 'layers.0.weight': shard } });
  expect(error).toMatchObject({ code: 'SHARDS' });
  expect(error.message).toContain('tensor "layers.0.weight" is in ');
  expect(error.message).toContain('which is no name of a .safetensors or .bin file');
  expect(error.message).not.toContain('\n');
});

test.each<[string, unknown, string, string]>([
  ['is not JSON', '{"weight_map"', 'JSON', 'is not valid JSON'],
  ['is a list', [], 'SHARDS', 'no weight_map'],
  ['has no map', { metadata: {} }, 'SHARDS', 'no weight_map'],
  ['has a list as map', { weight_map: [1] }, 'SHARDS', 'no weight_map'],
  ['has an empty map', { weight_map: {} }, 'SHARDS', 'its weight_map is empty'],
  [
    'lacks a tensor',
    { weight_map: { ...map, 'layers.3.weight': undefined } },
    'SHARDS',
    'has the tensor "layers.3.weight", which is not in it',
  ],
  [
    'has a tensor too many',
    { weight_map: { ...map, proj: shards[1] } },
    'SHARDS',
    `the tensor "proj" is not in ${shards[1]}`,
  ],
  [
    'mixes up the shards',
    { weight_map: { ...map, 'layers.3.weight': shards[0] } },
    'SHARDS',
    `"layers.3.weight" is not in ${shards[0]}`,
  ],
  [
    'names a missing shard',
    { weight_map: { ...map, proj: 'model-3.safetensors' } },
    'SHARDS',
    'model-3.safetensors is missing',
  ],
  [
    'names 1000 shards',
    { weight_map: Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [i, `${i}.bin`])) },
    'SHARDS',
    'more than 256 shards',
  ],
])('an index that %s is one clear line', async (_, content, code, message) => {
  const error = await openingFails(content);
  expect(error).toMatchObject({ code });
  expect(error.message).toContain(message);
  expect(error.message).not.toContain('\n');
});

test('a shard that is damaged is named', async () => {
  cpSync(join(goldens, 'sharded-safetensors'), folder, { recursive: true });
  writeFileSync(index, JSON.stringify({ weight_map: map }));
  writeFileSync(join(folder, shards[1]), 'x');
  await expect(openShards(index)).rejects.toThrow(`${shards[1]} is not a valid safetensors file`);
});

test('files with a tensor of the same name cannot be one', async () => {
  const path = join(goldens, 'sharded-safetensors', shards[0]);
  const files = [await openSafetensors(path), await openSafetensors(path)];
  expect(() => combine(files)).toThrow(`both ${path} and ${path} have a tensor "layers.0.weight"`);
  await Promise.all(files.map(file => file.close()));
});
