/** The vocabularies of WordNet against what NLTK reads from WordNet 3.0 (scripts/goldens/vocab.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hashBytes, hashJson } from '../io/hash.ts';
import { wordnetVocabulary } from './built-in.ts';
import { firstLemma, loadWordnet } from './wordnet.ts';

interface VocabularyRecord {
  names: number;
  synsets: number;
  sha256OfNames: string;
  sha256OfSynsets: string;
  mostSynsets: string[];
}

const golden = JSON.parse(readFileSync(new URL('../../test/goldens/vocab.json', import.meta.url), 'utf8')) as {
  in21k: VocabularyRecord;
  in1k: VocabularyRecord;
  wordnet: VocabularyRecord;
  sha256OfIds: string;
  sha256OfLemmas: string;
  sha256OfParents: string;
  samples: { id: string; synonyms: string[]; parents: string[]; definition: string }[];
};
const sha256 = (lines: readonly string[]): string => hashBytes(lines.join('\n'));

describe.each(['in21k', 'in1k', 'wordnet'] as const)('%s', id => {
  const record = golden[id];
  const { names, entries, merged, hash } = wordnetVocabulary(id);

  test('has the names that NLTK finds, in its order', () => {
    expect(names).toHaveLength(record.names);
    expect(merged).toBe(record.synsets - record.names);
    expect(sha256(names)).toBe(record.sha256OfNames);
    expect(new Set(names).size).toBe(names.length);
  });

  test('entries carry all synsets of their name', () => {
    const lines = entries.map(({ name, synsets }) => `${name} ${synsets.map(synset => synset.id).join(' ')}`);
    expect(sha256(lines)).toBe(record.sha256OfSynsets);
    const [name, ...ids] = record.mostSynsets;
    expect(entries.find(entry => entry.name === name)?.synsets.map(synset => synset.id)).toEqual(ids);
    expect(entries.map(entry => entry.name)).toEqual(names);
  });

  test('the hash that stands in the source is that of the entries', () => {
    expect(hash).toBe(hashJson(entries));
  });
});

describe('the table', () => {
  const wordnet = loadWordnet();
  const lines = Array.from({ length: wordnet.size }, (_, line) => line);

  test('holds the ids, lemmas and hypernyms of all nouns', () => {
    expect(wordnet.size).toBe(82_115);
    expect(sha256(lines.map(wordnet.id))).toBe(golden.sha256OfIds);
    expect(sha256(lines.map(line => wordnet.lemmas(line).join('|')))).toBe(golden.sha256OfLemmas);
    const parents = lines.map(line => wordnet.parents(line).map(wordnet.id).sort().join(','));
    expect(sha256(parents)).toBe(golden.sha256OfParents);
  });

  test('glosses are the definitions without their examples', () => {
    for (const { id, synonyms, parents, definition } of golden.samples) {
      const line = wordnet.lineOf(id)!;
      expect(wordnet.lemmas(line)).toEqual(synonyms);
      expect(wordnet.parents(line).map(wordnet.id).sort()).toEqual(parents);
      expect(wordnet.gloss(line)).toBe(definition);
    }
    expect(lines.filter(line => wordnet.gloss(line) === '' || wordnet.gloss(line).includes('; "'))).toEqual([]);
  });

  test('has one root', () => {
    expect(lines.filter(line => wordnet.parents(line).length === 0).map(wordnet.lemmas)).toEqual([['entity']]);
  });

  test('is looked up by id', () => {
    expect(firstLemma('n02084071')).toBe('dog');
    expect(['n99999999', 'n2084071', 'v02084071', '__proto__', ''].map(firstLemma)).toEqual(Array(5).fill(undefined));
  });
});
