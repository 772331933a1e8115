/** The candidates of a cluster as the concepts of a request, and a language model's phrases as those of the candidates. */
import { type Concept, oneLine } from '../llm/concepts.ts';
import { phraseKey } from '../llm/phrase.ts';
import { labelKey } from './answer.ts';

/** One synset, or one entry of a custom vocabulary. */
export interface Meaning {
  readonly id: string;
  readonly gloss?: string;
  readonly synonyms?: readonly string[];
}

/** A name that a cluster may get, with all its meanings. */
export interface Candidate {
  readonly name: string;
  readonly meanings: readonly Meaning[];
}

/** A phrase with its weight u_p: in how many of the answers it stood. */
export interface WeightedPhrase {
  readonly phrase: string;
  readonly weight: number;
}

/** A concept that remembers which candidate it is a meaning of. */
export interface CandidateConcept extends Concept {
  readonly candidate: number;
}

/**
 * Every meaning of every candidate, in order (METHOD §2.4). Labels are the names, numbered where a name has several
 * meanings, and no two of them read the same; ids of meanings are not part of it and are never sent.
 */
export function toConcepts(candidates: readonly Candidate[]): CandidateConcept[] {
  const taken = new Set<string>();
  return candidates.flatMap(({ name, meanings }, candidate) => {
    const shown = oneLine(name, 80) || `concept ${candidate + 1}`;
    const listed: readonly Meaning[] = meanings.length > 0 ? meanings : [{ id: name }];
    return listed.map(({ gloss, synonyms = [] }, i) => {
      let number = i + 1;
      let label = listed.length > 1 ? `${shown} (${number})` : shown;
      while (taken.has(labelKey(label))) label = `${shown} (${++number})`;
      taken.add(labelKey(label));
      const others = synonyms.filter(synonym => phraseKey(synonym) !== phraseKey(name));
      return { candidate, label, name, gloss: gloss?.trim() || undefined, synonyms: others };
    });
  });
}

/** Counts the phrases of one cluster's candidates over the answers, and drops what does not tell them apart. */
export interface PhraseCount {
  /** Counts one answer, its phrases listed per concept; only candidates for which `counts` holds gain weight by it. */
  add(phrases: readonly (readonly string[])[], counts?: (candidate: number) => boolean): void;
  /**
   * Per candidate, heaviest first and then as first given: without names of candidates and phrases that two of them share
   * (METHOD §2.4) and, unless `speaksOfOthers`, phrases that speak of another candidate by its name.
   */
  settled(): WeightedPhrase[][];
}

/** A count of nothing yet. */
export function countPhrases(
  candidates: readonly Candidate[],
  concepts: readonly CandidateConcept[],
  speaksOfOthers: boolean,
): PhraseCount {
  const names = new Set([...candidates.map(({ name }) => name), ...concepts.map(({ label }) => label)].map(phraseKey));
  const nameKeys = candidates.map(({ name }) => phraseKey(name));
  const users = new Map<string, Set<number>>();
  const counted = candidates.map(() => new Map<string, { phrase: string; weight: number }>());
  return {
    add(phrases, counts = () => true) {
      const once = candidates.map(() => new Set<string>());
      concepts.forEach(({ candidate }, i) => {
        for (const phrase of phrases[i]) {
          const key = phraseKey(phrase);
          // The synsets of one name are merged: what stands under two of them counts once an answer.
          if (once[candidate].has(key)) continue;
          once[candidate].add(key);
          users.set(key, (users.get(key) ?? new Set()).add(candidate));
          if (!counts(candidate)) continue;
          const known = counted[candidate].get(key);
          if (known) known.weight++;
          else counted[candidate].set(key, { phrase, weight: 1 });
        }
      });
    },
    settled: () =>
      counted.map((of, candidate) =>
        [...of]
          .filter(([key]) => key !== '' && !names.has(key) && users.get(key)?.size === 1)
          .filter(([key]) => speaksOfOthers || !namesAnother(key, candidate, nameKeys))
          .map(([, weighted]) => ({ ...weighted }))
          .sort((a, b) => b.weight - a.weight),
      ),
  };
}

/** Whether a phrase speaks of another candidate by its name: "like a flamingo" would draw a crane's images to flamingos. */
function namesAnother(key: string, candidate: number, nameKeys: readonly string[]): boolean {
  // A name of one sign or of digits alone stands in many a phrase that does not mean it.
  const holds = (text: string, name: string): boolean =>
    name.length > 1 && /\p{L}/u.test(name) && ` ${text} `.includes(` ${name} `);
  const own = nameKeys[candidate];
  // Of "tiger cat" and "cat" the first may speak of cats.
  return nameKeys.some((name, other) => other !== candidate && !holds(own, name) && holds(key, name));
}
