/** What a vocabulary is: distinct names, each with its meanings; and how a list of concepts becomes one. */
import { S3aError } from '../errors.ts';
import { hashJson } from '../io/hash.ts';

/** One meaning of a name; a WordNet synset, or a line of a custom vocabulary. */
export interface Meaning {
  /** WordNet 3.0 id such as `n02084071`, or what a file says, where there is one. */
  id?: string;
  /** Words for this meaning as they are written, the one that made the name first. */
  synonyms: string[];
  /** What it is, in one sentence. */
  gloss?: string;
  /** Names, or in a file also ids, of broader concepts. */
  parents?: string[];
}

export interface VocabularyEntry {
  name: string;
  synsets: Meaning[];
}

/** Names to choose from, in a fixed order; prototypes and scores have one row or column for each. */
export interface Vocabulary {
  /** `in21k`, `in1k`, `wordnet`, `demo`, or a custom file's name without its extension. */
  id: string;
  /** Distinct, lower case, never empty; `names[i]` is `entries[i].name`. */
  names: string[];
  entries: VocabularyEntry[];
  /** How many concepts were merged into another one of the same name. */
  merged: number;
  /** SHA-256 of the entries. */
  hash: string;
}

/** A concept as written: the first of its synonyms is its name. */
export type Concept = Meaning;

const MAX_NAME = 200;
// WordNet's most is 19.
const MAX_MEANINGS = 100;

/** A meaning with its words as they are compared. */
interface Known {
  meaning: Meaning;
  words: ReadonlySet<string>;
}

/** A name as it is compared: Unicode NFC, lower case, single spaces, none at the ends. */
export function normalizeName(name: string): string {
  return name.normalize('NFC').toLowerCase().replace(/\s+/g, ' ').trim();
}

/**
 * A vocabulary of the concepts in their order. Concepts of one name are merged and keep the list of their meanings (METHOD §1);
 * a meaning that says nothing new is not repeated.
 *
 * Throws S3aError VOCABULARY when there is no name, or one is empty, longer than 200 characters, or has more than 100 meanings.
 */
export function makeVocabulary(id: string, concepts: readonly Concept[]): Vocabulary {
  const byName = new Map<string, Known[]>();
  for (const [i, concept] of concepts.entries()) {
    const name = normalizeName(concept.synonyms[0] ?? '');
    if (name === '') throw new S3aError('VOCABULARY', `vocabulary ${id}: concept ${i + 1} has no name`);
    if (name.length > MAX_NAME) {
      const start = JSON.stringify(name.slice(0, 40));
      throw new S3aError(
        'VOCABULARY',
        `vocabulary ${id}: the name ${start}… has ${name.length} characters, at most ${MAX_NAME}`,
      );
    }
    const other = { meaning: concept, words: new Set(concept.synonyms.map(normalizeName)) };
    const meanings = byName.get(name);
    if (!meanings) byName.set(name, [other]);
    else if (!meanings.some(known => saysAsMuch(known, other))) {
      const lesser = meanings.findIndex(known => saysAsMuch(other, known));
      meanings.splice(lesser < 0 ? meanings.length : lesser, lesser < 0 ? 0 : 1, other);
      if (meanings.length > MAX_MEANINGS) {
        throw new S3aError(
          'VOCABULARY',
          `vocabulary ${id}: the name ${JSON.stringify(name)} has more than ${MAX_MEANINGS} meanings`,
        );
      }
    }
  }
  if (byName.size === 0) {
    throw new S3aError(
      'VOCABULARY',
      `vocabulary ${id} is empty`,
      'Give at least one name; the built-in in21k has 20,071.',
    );
  }
  const entries = [...byName].map(([name, known]) => ({ name, synsets: known.map(({ meaning }) => meaning) }));
  return {
    id,
    names: entries.map(({ name }) => name),
    entries,
    merged: concepts.length - entries.length,
    hash: hashJson(entries),
  };
}

function saysAsMuch({ meaning: known, words }: Known, { meaning: other, words: others }: Known): boolean {
  return (
    known.id === other.id &&
    (other.gloss === undefined || known.gloss === other.gloss) &&
    [...others].every(word => words.has(word)) &&
    (other.parents ?? []).every(parent => known.parents?.includes(parent))
  );
}
