/** The tokenizer that a SigLIP folder brings: tokenizer.json, or spiece.model alone. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { S3aError } from '../../errors.ts';
import { readJson } from '../../io/json.ts';
import { type FoundTokenizer, readBounded } from './files.ts';
import { MAX_SPIECE, spieceJson } from './spiece.ts';

/**
 * Reads the tokenizer of a SigLIP: tokenizer.json where it is there, else spiece.model, with tokenizer_config.json.
 * @throws S3aError TOKENIZER when there is none, or no sentencepiece model; READ, JSON
 */
export async function readSiglipTokenizer(folder: string): Promise<FoundTokenizer & { readonly path: string }> {
  const [json, config, spiece] = ['tokenizer.json', 'tokenizer_config.json', 'spiece.model'].map(name =>
    join(folder, name),
  );
  const sentencepiece = existsSync(spiece) ? await readBounded(spiece, MAX_SPIECE) : undefined;
  const tokenizerPlace = existsSync(json) ? json : spiece;
  if (tokenizerPlace === spiece && !sentencepiece) {
    throw new S3aError(
      'TOKENIZER',
      `${folder} has neither tokenizer.json nor spiece.model`,
      "Put the model's tokenizer files beside the weights.",
    );
  }
  const tokenizer = tokenizerPlace === json ? await readJson(json) : spieceJson(sentencepiece!, spiece);
  const tokenizerConfig = existsSync(config) ? await readJson(config) : {};
  return {
    tokenizerFiles: { tokenizer, tokenizerConfig, ...(sentencepiece && { sentencepiece }) },
    tokenizerPlace,
    path: tokenizerPlace,
    // It says how texts are cleaned and on which side they are padded.
    ...(existsSync(config) && { configPath: config }),
    notes: [],
  };
}
