/** Folders as transformers saves them: config.json, weights in one file or several, tokenizer and preprocessor files. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { S3aError } from '../../../errors.ts';
import { readJson } from '../../../io/json.ts';
import { parseClipConfig } from '../../towers/config.ts';
import type { ModelFormat } from '../source.ts';
import { besideConfig } from './beside-config.ts';
import { filesOfWeights, firstIn, openWeightsFile, peek } from './weights-file.ts';

// Tables of 0, 1, 2, … that older versions of transformers saved; they are no weights.
const BUFFERS = new Set(['text_model.embeddings.position_ids', 'vision_model.embeddings.position_ids']);

// The order in which transformers looks.
const WEIGHTS = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
];

// Where other formats keep theirs beside a config.json.
const ELSEWHERE = ['open_clip_config.json', 'onnx', 'vision_model.onnx', 'model.onnx'];

/** config.json with model.safetensors or pytorch_model.bin. */
export const transformersFormat: ModelFormat = {
  name: 'transformers',
  mark: 'config.json with model.safetensors or pytorch_model.bin',
  async open({ folder, file, architecture, tokenizer }) {
    const at = (name: string): string => join(folder, name);
    if (!existsSync(at('config.json')) || architecture !== undefined) return undefined;
    const json = await readJson(at('config.json'));
    // timm's folders have a config.json of another kind, and the image tower alone in model.safetensors.
    if (existsSync(at('open_clip_config.json')) && !hasModelType(json)) return undefined;
    const name = file ?? firstIn(folder, WEIGHTS);
    if (name === undefined) {
      if (ELSEWHERE.some(other => existsSync(at(other)))) return undefined;
      throw new S3aError('MODEL', `${folder} has a config.json but no weights`, `They are expected in ${WEIGHTS[0]}.`);
    }
    if (!(await isOurs(folder, name))) return undefined;
    const config = parseClipConfig(json, at('config.json'));
    const { files, ...beside } = await besideConfig({ folder, tokenizer }, config);
    return {
      config,
      ...beside,
      identity: [at('config.json'), ...(await filesOfWeights(at(name))), ...files],
      openWeights: () => openWeightsFile(at(name)),
      locate: ours => ({ name: ours }),
      isExtra: theirs => BUFFERS.has(theirs),
    };
  },
};

function hasModelType(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'model_type' in json;
}

/** Whether a file, if it is not known by its name, has weights under transformers' names. */
async function isOurs(folder: string, name: string): Promise<boolean> {
  if (WEIGHTS.includes(name)) return true;
  if (name.endsWith('.onnx') || name.startsWith('open_clip_')) return false;
  return peek(join(folder, name), file => file.names.some(tensor => /^(?:vision|text)_model\./.test(tensor)));
}
