/** Folders as transformers saves them: config.json, safetensors, tokenizer and preprocessor files. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from '../../../io/json.ts';
import { openSafetensors } from '../../../io/safetensors.ts';
import { parsePreprocess } from '../../preprocess.ts';
import { parseClipConfig } from '../../towers/config.ts';
import type { ModelFormat } from '../source.ts';

// Tables of 0, 1, 2, … that older versions of transformers saved; they are no weights.
const BUFFERS = new Set(['text_model.embeddings.position_ids', 'vision_model.embeddings.position_ids']);

/** config.json with model.safetensors. */
export const transformersFormat: ModelFormat = {
  name: 'transformers',
  mark: 'config.json with model.safetensors',
  async open({ folder }) {
    const at = (name: string): string => join(folder, name);
    if (!existsSync(at('config.json'))) return undefined;
    const config = parseClipConfig(await readJson(at('config.json')), at('config.json'));
    const tokenizer = await readJson(at('tokenizer.json'));
    const tokenizerConfig = await readJson(at('tokenizer_config.json'));
    const json = existsSync(at('preprocessor_config.json')) ? await readJson(at('preprocessor_config.json')) : {};
    const files = ['config.json', 'model.safetensors', 'preprocessor_config.json', 'tokenizer.json'];
    return {
      config,
      preprocess: parsePreprocess(json, config.vision_config.image_size, at('preprocessor_config.json')),
      tokenizerFiles: { tokenizer, tokenizerConfig },
      tokenizerPlace: at('tokenizer.json'),
      identity: files.map(at).filter(path => existsSync(path)),
      openWeights: () => openSafetensors(at('model.safetensors')),
      locate: name => ({ name }),
      isExtra: name => BUFFERS.has(name),
    };
  },
};
