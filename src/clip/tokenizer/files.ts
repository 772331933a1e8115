/** The tokenizer that a folder brings, in whichever files; else CLIP's own. */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, S3aError } from '../../errors.ts';
import { readJson } from '../../io/json.ts';
import { CLIP_WORDS, clipTokenizerFiles, clipTokenizerJson } from './clip-vocabulary.ts';

/** Parsed tokenizer files and where they are from. */
export interface FoundTokenizer {
  readonly tokenizerFiles: {
    readonly tokenizer: unknown;
    readonly tokenizerConfig: unknown;
    readonly sentencepiece?: Uint8Array;
  };
  /** For messages. */
  readonly tokenizerPlace: string;
  /** The file with the vocabulary; undefined for OpenAI's in the package. */
  readonly path?: string;
  /** tokenizer_config.json, where it decides on ids. */
  readonly configPath?: string;
  readonly notes: readonly string[];
}

const MAX_MERGES = 1 << 26;

/**
 * Reads the tokenizer of a CLIP: tokenizer.json, or vocab.json with merges.txt as older models have it, with
 * tokenizer_config.json where it is there. A folder without any gets OpenAI's if the model has as many words.
 * @param words tokens that the model knows
 * @throws S3aError TOKENIZER when there is none and the model is not of OpenAI's vocabulary; READ, JSON
 */
export async function readClipTokenizer(folder: string, words: number): Promise<FoundTokenizer> {
  const at = (name: string): string => join(folder, name);
  const config = at('tokenizer_config.json');
  const tokenizerConfig = existsSync(config) ? await readJson(config) : {};
  if (existsSync(at('tokenizer.json'))) {
    const path = at('tokenizer.json');
    const tokenizer = await readJson(path);
    return { tokenizerFiles: { tokenizer, tokenizerConfig }, tokenizerPlace: path, path, notes: [] };
  }
  if (existsSync(at('vocab.json')) && existsSync(at('merges.txt'))) {
    const path = at('vocab.json');
    const tokenizer = clipTokenizerJson(await readVocab(path), await readMerges(at('merges.txt')));
    return { tokenizerFiles: { tokenizer, tokenizerConfig }, tokenizerPlace: path, path, notes: [] };
  }
  if (words !== CLIP_WORDS) {
    throw new S3aError(
      'TOKENIZER',
      `${folder} has no tokenizer.json, and its model of ${words} tokens does not fit the ${CLIP_WORDS} of OpenAI's CLIP`,
      "Put the model's tokenizer.json beside the weights.",
    );
  }
  return {
    tokenizerFiles: clipTokenizerFiles(),
    tokenizerPlace: "OpenAI's vocabulary",
    notes: ["The tokenizer is OpenAI's, which comes with the program: there is none beside the weights."],
  };
}

const vocabSchema = z.record(z.string(), z.int().min(0));

async function readVocab(path: string): Promise<Record<string, number>> {
  const parsed = vocabSchema.safeParse(await readJson(path));
  if (!parsed.success) throw new S3aError('TOKENIZER', `${path} is not an object from tokens to ids`);
  return parsed.data;
}

async function readMerges(path: string): Promise<[string, string][]> {
  const text = (await readBounded(path, MAX_MERGES)).toString('utf8');
  const lines = text.split(/\r?\n/).filter(line => line !== '' && !line.startsWith('#version'));
  return lines.map((line, i) => {
    const parts = line.split(' ');
    if (parts.length !== 2) throw new S3aError('TOKENIZER', `${path}: merge ${i + 1} is not two parts`);
    return [parts[0], parts[1]];
  });
}

/** The bytes of a file of at most `most`. Throws S3aError TOKENIZER for a longer one, READ. */
export async function readBounded(path: string, most: number): Promise<Buffer> {
  try {
    const { size } = statSync(path);
    if (size > most) throw new S3aError('TOKENIZER', `${path} has ${size} bytes, at most ${most}`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('READ', `cannot read ${path}: ${messageOf(error)}`, undefined, { cause: error });
  }
}
