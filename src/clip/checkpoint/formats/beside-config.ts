/** What lies beside config.json in the layout of transformers: the tokenizer's files and the preprocessor's. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from '../../../io/json.ts';
import { parsePreprocess } from '../../preprocess.ts';
import { readClipTokenizer } from '../../tokenizer/files.ts';
import { readSiglipTokenizer } from '../../tokenizer/siglip-files.ts';
import type { ClipConfig } from '../../towers/config.ts';
import type { ModelPlace, ModelSource } from '../source.ts';

type Beside = Required<Pick<ModelSource, 'preprocess' | 'tokenizerFiles' | 'tokenizerPlace' | 'notes'>>;

/**
 * Reads them; `files` are those that make the model. Throws S3aError MODEL_CONFIG, TOKENIZER, READ and JSON.
 * @param tokenizer folder of the tokenizer, where it is another one
 */
export async function besideConfig(
  { folder, tokenizer = folder }: Pick<ModelPlace, 'folder' | 'tokenizer'>,
  config: ClipConfig,
): Promise<Beside & { readonly files: readonly string[] }> {
  const siglip = config.model_type === 'siglip';
  const { path, configPath, ...found } = siglip
    ? await readSiglipTokenizer(tokenizer)
    : await readClipTokenizer(tokenizer, config.text_config.vocab_size);
  const preprocessor = join(folder, 'preprocessor_config.json');
  const side = config.vision_config.image_size;
  const usual = siglip ? { image_processor_type: 'SiglipImageProcessor', size: { height: side, width: side } } : {};
  const json = existsSync(preprocessor) ? await readJson(preprocessor) : usual;
  return {
    ...found,
    preprocess: parsePreprocess(json, side, preprocessor),
    files: [preprocessor, path, configPath].filter(file => file !== undefined).filter(existsSync),
  };
}
