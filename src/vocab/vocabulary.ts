/** Vocabularies by name or path: the built-in ones, or a file of names. */
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { S3aError } from '../errors.ts';
import { wordnetVocabulary } from './built-in.ts';
import { readVocabulary } from './custom.ts';
import type { Vocabulary } from './entries.ts';
import { packageFile } from './package-root.ts';

export {
  type Concept,
  type Meaning,
  makeVocabulary,
  normalizeName,
  type Vocabulary,
  type VocabularyEntry,
} from './entries.ts';

/** Vocabularies that ship with the package. */
export const BUILT_IN_VOCABULARIES: Readonly<Record<string, () => Vocabulary | Promise<Vocabulary>>> = {
  in21k: () => wordnetVocabulary('in21k'),
  in1k: () => wordnetVocabulary('in1k'),
  wordnet: () => wordnetVocabulary('wordnet'),
  /** What the embedded tiny CLIP was trained on: about 1,500 names of emoji. */
  demo: async () => ({ ...(await readVocabulary(packageFile('demo/model/vocabulary.json'))), id: 'demo' }),
};

/**
 * The vocabulary of that name (`in21k`, `in1k`, `wordnet`, `demo`), or of that .txt, .csv or .json file.
 *
 * Throws S3aError VOCABULARY for an unknown name and for what is wrong with the file.
 * @example const { names } = await loadVocabulary('in21k'); // 20,071 names
 */
export async function loadVocabulary(specOrPath: string): Promise<Vocabulary> {
  if (Object.hasOwn(BUILT_IN_VOCABULARIES, specOrPath)) return BUILT_IN_VOCABULARIES[specOrPath]();
  if (extname(specOrPath) === '' && !existsSync(specOrPath)) {
    const known = Object.keys(BUILT_IN_VOCABULARIES).join(', ');
    throw new S3aError(
      'VOCABULARY',
      `there is no vocabulary ${JSON.stringify(specOrPath)}`,
      `Built in: ${known}; or give a .txt, .csv or .json file.`,
    );
  }
  return readVocabulary(specOrPath);
}
