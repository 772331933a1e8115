/** A model in several files: Hugging Face's model.safetensors.index.json and pytorch_model.bin.index.json. */
import { dirname, join } from 'node:path';
import { S3aError } from '../errors.ts';
import { readJson } from './json.ts';
import { openSafetensors } from './safetensors.ts';
import { combine, type TensorFile } from './tensor-file.ts';
import { openTorchFile } from './torch-file.ts';

const MAX_INDEX = 1 << 25;
// All of them are open at once; the largest models have about 200.
const MAX_SHARDS = 256;

/**
 * Opens the shards that an index names and checks that they and the index have the same tensors. Shards lie beside the index.
 *
 * Throws S3aError READ and JSON for the index, SHARDS for names that leave its folder, a shard that is missing and tensors that are not
 * where the index says, and what opening a shard throws.
 */
export async function openShards(indexPath: string): Promise<TensorFile> {
  const shards = shardsOf(await readJson(indexPath, MAX_INDEX), indexPath);
  const files: TensorFile[] = [];
  try {
    for (const [shard, names] of shards) {
      const file = await openShard(indexPath, shard);
      files.push(file);
      checkNames(indexPath, shard, file, names);
    }
    return combine(files, indexPath);
  } catch (error) {
    await Promise.all(files.map(file => file.close()));
    throw error;
  }
}

/** The tensors that each shard should have, by the name of its file. */
function shardsOf(index: unknown, path: string): Map<string, Set<string>> {
  const bad = (what: string): S3aError => new S3aError('SHARDS', `${path}: ${what}`, 'Download the index again.');
  const map: unknown = isObject(index) ? index.weight_map : undefined;
  if (!isObject(map)) throw bad('it has no weight_map from names of tensors to names of files');
  const shards = new Map<string, Set<string>>();
  for (const [name, shard] of Object.entries(map)) {
    // A hostile index must not reach other folders: a plain file name is all that is allowed.
    if (typeof shard !== 'string' || shard.length > 200 || !/^[\w-][\w.-]*\.(safetensors|bin)$/.test(shard)) {
      const shown = String(JSON.stringify(shard)).slice(0, 80);
      throw bad(
        `tensor ${JSON.stringify(name.slice(0, 200))} is in ${shown}, which is no name of a .safetensors or .bin file`,
      );
    }
    const names = shards.get(shard) ?? new Set();
    shards.set(shard, names.add(name));
    if (shards.size > MAX_SHARDS) throw bad(`more than ${MAX_SHARDS} shards`);
  }
  if (shards.size === 0) throw bad('its weight_map is empty');
  return shards;
}

async function openShard(indexPath: string, shard: string): Promise<TensorFile> {
  const path = join(dirname(indexPath), shard);
  try {
    return await (shard.endsWith('.bin') ? openTorchFile(path, { keepNames: true }) : openSafetensors(path));
  } catch (error) {
    if (!(error instanceof S3aError) || !isMissing(error.cause)) throw error;
    throw new S3aError(
      'SHARDS',
      `the shard ${path} is missing; ${indexPath} names it`,
      'Put all shards beside the index, or download the model again.',
      { cause: error },
    );
  }
}

function checkNames(indexPath: string, shard: string, file: TensorFile, names: ReadonlySet<string>): void {
  const lacking = [...names].find(name => !file.has(name));
  const extra = file.names.find(name => !names.has(name));
  if (lacking === undefined && extra === undefined) return;
  const what =
    lacking === undefined
      ? `${shard} has the tensor ${show(extra)}, which is not in it`
      : `the tensor ${show(lacking)} is not in ${shard}`;
  throw new S3aError(
    'SHARDS',
    `${indexPath} does not fit its shards: ${what}`,
    'Download the index and the shards again.',
  );
}

function show(name: string | undefined): string {
  return JSON.stringify(name?.slice(0, 200));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}
