/** The vocabularies made of WordNet: ImageNet-21k, ImageNet-1k and all nouns (METHOD §1). */
import type { Vocabulary, VocabularyEntry } from './entries.ts';
import { loadWordnet } from './wordnet.ts';

/** Which synsets are in it, by their digit in the table, and the SHA-256 of its entries, which a test computes anew. */
interface Selection {
  readonly has: (set: string) => boolean;
  readonly hash: string;
}

const SELECTIONS = {
  /** All synsets of ImageNet-21k and ImageNet-1k, 20,071 names. */
  in21k: { has: set => set !== '0', hash: 'e26b5f8b0b95edff697c13e3a843c29874edbae15b68f19f1cd59e9a90b402f8' },
  /** The 1,000 of ImageNet-1k in class order, 997 names. */
  in1k: {
    has: set => set === '1' || set === '3',
    hash: 'c6b2675e2f0535a47ef64475838d70897a3719194ced8a17e70342ec1c5fd7ba',
  },
  /** All 82,115 noun synsets, 67,186 names. */
  wordnet: { has: () => true, hash: '864a19605964b1661993c2149b7473a401a2570a5ed3be9a72bf62e2679b221c' },
} as const satisfies Record<string, Selection>;

export type WordnetVocabulary = keyof typeof SELECTIONS;

/**
 * A vocabulary of WordNet: each synset gives its first lemma in lower case, equal names are merged and keep the list of their
 * synsets in the order of their offsets. Names are there at once; entries, with synonyms and glosses, when they are first asked for.
 */
export function wordnetVocabulary(id: WordnetVocabulary): Vocabulary {
  const { has, hash } = SELECTIONS[id];
  const { sets, lemmaText } = loadWordnet();
  const text = lemmaText.toLowerCase();
  const rows = new Map<string, number>();
  const names: string[] = [];
  // The row of each synset in the vocabulary, −1 for those that are not in it.
  const rowOf = new Int32Array(sets.length).fill(-1);
  let start = 0;
  let synsets = 0;
  for (let line = 0; line < sets.length; line++) {
    const next = text.indexOf('\n', start);
    const end = next < 0 ? text.length : next;
    if (has(sets[line])) {
      synsets++;
      const bar = text.indexOf('|', start);
      const name = text.slice(start, bar >= 0 && bar < end ? bar : end);
      let row = rows.get(name);
      if (row === undefined) {
        row = names.length;
        rows.set(name, row);
        names.push(name);
      }
      rowOf[line] = row;
    }
    start = end + 1;
  }
  let entries: VocabularyEntry[] | undefined;
  return {
    id,
    names,
    get entries() {
      entries ??= entriesOf(names, rowOf);
      return entries;
    },
    merged: synsets - names.length,
    hash,
  };
}

/** The vocabulary of WordNet that has these very entries, by their hash. */
export function wordnetVocabularyOf(hash: string): WordnetVocabulary | undefined {
  return (Object.keys(SELECTIONS) as WordnetVocabulary[]).find(id => SELECTIONS[id].hash === hash);
}

/** Whether each synset of the table is in the vocabulary. */
export function membersOf(id: WordnetVocabulary): boolean[] {
  return Array.from(loadWordnet().sets, SELECTIONS[id].has);
}

function entriesOf(names: readonly string[], rowOf: Int32Array): VocabularyEntry[] {
  const wordnet = loadWordnet();
  const entries = names.map((name): VocabularyEntry => ({ name, synsets: [] }));
  for (const [line, row] of rowOf.entries()) {
    if (row < 0) continue;
    entries[row].synsets.push({
      id: wordnet.id(line),
      synonyms: wordnet.lemmas(line),
      gloss: wordnet.gloss(line),
      parents: wordnet.parents(line).map(parent => wordnet.lemmas(parent)[0].toLowerCase()),
    });
  }
  return entries;
}
