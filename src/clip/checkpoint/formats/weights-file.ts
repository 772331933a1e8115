/** Files of weights of any kind by their name, and which of several a folder has. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../../io/json.ts';
import { openSafetensors } from '../../../io/safetensors.ts';
import { openShards } from '../../../io/shards.ts';
import type { TensorFile } from '../../../io/tensor-file.ts';
import { openTorchFile } from '../../../io/torch-file.ts';

/** Opens .safetensors, an index of shards, or a file of PyTorch's under any other name; throws what these throw. */
export async function openWeightsFile(path: string): Promise<TensorFile> {
  if (path.endsWith('.safetensors')) return openSafetensors(path);
  return path.endsWith('.index.json') ? openShards(path) : openTorchFile(path);
}

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** The files whose bytes are the weights: the file itself, and with an index the shards that it names. Throws READ and JSON. */
export async function filesOfWeights(path: string): Promise<string[]> {
  if (!path.endsWith('.index.json')) return [path];
  const index = indexSchema.safeParse(await readJson(path));
  // What is wrong with an index is said where it is opened.
  const names = index.success ? [...new Set(Object.values(index.data.weight_map))] : [];
  return [path, ...names.filter(name => /^[\w.-]+$/.test(name)).map(name => join(dirname(path), name))];
}

/** What `look` finds in a file of weights, which is closed then. */
export async function peek<T>(path: string, look: (file: TensorFile) => T): Promise<T> {
  const file = await openWeightsFile(path);
  try {
    return look(file);
  } finally {
    await file.close();
  }
}

/** The first of these names that is a file in the folder. */
export function firstIn(folder: string, names: readonly string[]): string | undefined {
  return names.find(name => existsSync(join(folder, name)));
}

/** A file that also has these tensors, of zeros. */
export function withZeros(file: TensorFile, zeros: ReadonlyMap<string, number>): TensorFile {
  const lengthOf = (name: string): number | undefined => (file.has(name) ? undefined : zeros.get(name));
  return {
    path: file.path,
    names: [...file.names, ...[...zeros.keys()].filter(name => !file.has(name))],
    has: name => file.has(name) || zeros.has(name),
    info: name => {
      const length = lengthOf(name);
      return length === undefined ? file.info(name) : { dtype: 'F32', shape: [length] };
    },
    readFloat32: async name => {
      const length = lengthOf(name);
      return length === undefined ? file.readFloat32(name) : new Float32Array(length);
    },
    close: file.close,
  };
}
