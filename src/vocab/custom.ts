/** Vocabularies from .txt, .csv and .json files (docs/vocabulary.md). */
import { readFile, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { S3aError, whyOf } from '../errors.ts';
import { type Concept, makeVocabulary, type Vocabulary } from './entries.ts';
import { hierarchyOfEntries } from './hierarchy.ts';
import { parseCsv, parseJson, parseText, type Written } from './parse.ts';

const MAX_FILE = 1 << 26;
const MAX_CONCEPTS = 500_000;
const MAX_LIST = 1000;
const MAX_WORD = 200;
const MAX_GLOSS = 10_000;

const PARSERS: Record<string, (text: string, path: string, most: number) => Written[]> = {
  '.txt': parseText,
  '.csv': parseCsv,
  '.json': parseJson,
};

/**
 * A vocabulary of a file, which is UTF-8 (with or without a byte-order mark), at most 64 MB and at most 500,000 concepts:
 * .txt, one `name`, `name: gloss` or `name<tab>gloss` a line, lines that begin with # left out;
 * .csv, a header with the column `name` and, if wanted, `synonyms`, `gloss`, `parent` and `synset`, several synonyms or parents
 * separated by |;
 * .json, a list of names or of objects {name, synonyms?, gloss?, parents?, synset?}.
 * A parent is the name or the synset of a concept of the file, or a broader name outside it.
 *
 * Throws S3aError VOCABULARY with the file and the line or entry, and for parents that lead back to where they began.
 */
export async function readVocabulary(path: string): Promise<Vocabulary> {
  const extension = extname(path).toLowerCase();
  if (!Object.hasOwn(PARSERS, extension)) {
    throw new S3aError(
      'VOCABULARY',
      `the vocabulary ${path} is not a .txt, .csv or .json file`,
      'The format goes by the ending of its name; a .txt has a name a line.',
    );
  }
  const written = PARSERS[extension](await readText(path), path, MAX_CONCEPTS);
  if (written.length === 0) {
    throw new S3aError('VOCABULARY', `the vocabulary ${path} has no names`, 'Give at least one name.');
  }
  const vocabulary = makeVocabulary(basename(path, extname(path)), written.map(checked));
  const hasParents = vocabulary.entries.some(({ synsets }) => synsets.some(meaning => meaning.parents));
  // Throws when they go in a circle.
  if (hasParents) hierarchyOfEntries(path, vocabulary.entries);
  return vocabulary;
}

async function readText(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE) {
      throw new S3aError('VOCABULARY', `the vocabulary ${path} has ${size} bytes, at most ${MAX_FILE} are read`);
    }
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('VOCABULARY', `cannot read the vocabulary ${path}: ${whyOf(error)}`, 'Check the path.', {
      cause: error,
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new S3aError('VOCABULARY', `the vocabulary ${path} is not UTF-8 text`, 'Save it as UTF-8.', { cause: error });
  }
}

/** The concept as it was written, within bounds: single spaces, nothing empty, no word twice. */
function checked({ name, synonyms, gloss, parents, synset, where }: Written): Concept {
  const bad = (what: string): S3aError => new S3aError('VOCABULARY', `${where}: ${what}`);
  const words = (list: readonly string[], what: string): string[] => {
    if (list.length > MAX_LIST) throw bad(`${list.length} ${what}, at most ${MAX_LIST} are allowed`);
    const clean = list.map(word => word.replace(/\s+/g, ' ').trim()).filter(word => word !== '');
    for (const word of clean) {
      if (word.length > MAX_WORD) throw bad(`one of the ${what} has ${word.length} characters, at most ${MAX_WORD}`);
      if (/[\p{Cc}\p{Cs}]/u.test(word)) throw bad(`one of the ${what} has characters that cannot be written`);
    }
    return [...new Set(clean)];
  };
  const [first] = words([name], 'names');
  if (first === undefined) throw bad('the name is empty');
  if (gloss.length > MAX_GLOSS) throw bad(`the gloss has ${gloss.length} characters, at most ${MAX_GLOSS}`);
  const above = words(parents, 'parents');
  const [id] = words([synset], 'synsets');
  return {
    ...(id !== undefined && { id }),
    synonyms: [...new Set([first, ...words(synonyms, 'synonyms')])],
    ...(gloss.trim() !== '' && { gloss: gloss.trim() }),
    ...(above.length > 0 && { parents: above }),
  };
}
