/** What is broader and narrower in a vocabulary: its concepts, and those above them that are not in it. */
import { S3aError } from '../errors.ts';
import { membersOf, wordnetVocabularyOf } from './built-in.ts';
import { normalizeName, type Vocabulary, type VocabularyEntry } from './entries.ts';
import { loadWordnet } from './wordnet.ts';

/** One meaning of a name. */
export interface HierarchyConcept {
  name: string;
  /** A WordNet 3.0 id, or what the file says. */
  synset?: string;
  synonyms: readonly string[];
  gloss?: string;
  /** Whether the vocabulary has it; the others are only above something that it has. */
  inVocabulary: boolean;
}

/** A directed graph without circles; a node is a place from 0 to size − 1. */
export interface Hierarchy {
  readonly size: number;
  /** Whether the concept is in the vocabulary. */
  has(node: number): boolean;
  concept(node: number): HierarchyConcept;
  parents(node: number): readonly number[];
  children(node: number): readonly number[];
  /** Nodes with this name, synonym or synset, case and spaces aside. */
  find(word: string): number[];
}

const MAX_EDGES = 4_000_000;
const SHOWN = 8;

/**
 * The hierarchy of a vocabulary: that of WordNet for the built-in ones, that of its parents for others.
 * @throws S3aError VOCABULARY as `hierarchyOfEntries`
 */
export function hierarchyOf(vocabulary: Vocabulary): Hierarchy {
  const id = wordnetVocabularyOf(vocabulary.hash);
  return id === undefined ? hierarchyOfEntries(vocabulary.id, vocabulary.entries) : restricted(membersOf(id));
}

/** WordNet without the synsets that have nothing of the vocabulary below them. */
function restricted(members: readonly boolean[]): Hierarchy {
  const { size, id, lemmas, parents, gloss } = loadWordnet();
  const used = new Array<boolean>(size).fill(false);
  const open = members.flatMap((isMember, line) => (isMember ? [line] : []));
  for (let line = open.pop(); line !== undefined; line = open.pop()) {
    if (used[line]) continue;
    used[line] = true;
    open.push(...parents(line));
  }
  const lines = Array.from({ length: size }, (_, line) => line);
  const children = childrenOf(lines.map(line => (used[line] ? parents(line) : [])));
  return {
    size,
    has: line => members[line],
    concept: line => ({
      name: lemmas(line)[0].toLowerCase(),
      synset: id(line),
      synonyms: lemmas(line),
      gloss: gloss(line),
      inVocabulary: members[line],
    }),
    parents,
    children: line => children[line],
    find(word) {
      const wanted = normalizeName(word);
      return lines.filter(
        line => used[line] && (id(line) === wanted || lemmas(line).some(lemma => lemma.toLowerCase() === wanted)),
      );
    },
  };
}

/**
 * The hierarchy that the parents of entries make: a parent is every meaning with that synset, else every one of that name, else
 * a concept outside the vocabulary.
 * @param where what the entries are of, for messages
 * @throws S3aError VOCABULARY naming the circle when parents lead back to where they began
 */
export function hierarchyOfEntries(where: string, entries: readonly VocabularyEntry[]): Hierarchy {
  const concepts: HierarchyConcept[] = [];
  const byId = new Map<string, number[]>();
  const byName = new Map<string, number[]>();
  const add = (concept: HierarchyConcept): void => {
    const node = concepts.push(concept) - 1;
    if (concept.synset !== undefined) append(byId, normalizeName(concept.synset), node);
    append(byName, concept.name, node);
  };
  const meanings = entries.flatMap(({ name, synsets }) => synsets.map(meaning => ({ name, meaning })));
  for (const { name, meaning } of meanings) {
    const { id: synset, synonyms, gloss } = meaning;
    add({ name, ...(synset !== undefined && { synset }), synonyms, ...(gloss && { gloss }), inVocabulary: true });
  }
  const parents: number[][] = [];
  let edges = 0;
  for (const { meaning } of meanings) {
    const above = new Set<number>();
    for (const parent of meaning.parents ?? []) {
      const name = normalizeName(parent);
      if (!byId.has(name) && !byName.has(name)) add({ name, synonyms: [parent], inVocabulary: false });
      for (const node of byId.get(name) ?? byName.get(name)!) above.add(node);
    }
    edges += above.size;
    if (edges > MAX_EDGES) throw new S3aError('VOCABULARY', `${where}: there are more than ${MAX_EDGES} parents`);
    parents.push([...above]);
  }
  while (parents.length < concepts.length) parents.push([]);
  const circle = findCircle(parents);
  if (circle) {
    const names = circle.map(node => concepts[node].name);
    const shown = names.length > SHOWN ? [...names.slice(0, SHOWN - 1), '…', names[0]] : [...names, names[0]];
    throw new S3aError(
      'VOCABULARY',
      `${where}: the parents go in a circle: ${shown.join(' > ')}`,
      'Each is a parent of the one before it. If two concepts of one name are meant, give them a synset and name it as the parent.',
    );
  }
  const children = childrenOf(parents);
  return {
    size: concepts.length,
    has: node => concepts[node].inVocabulary,
    concept: node => concepts[node],
    parents: node => parents[node],
    children: node => children[node],
    find(word) {
      const wanted = normalizeName(word);
      return concepts.flatMap(({ name, synset, synonyms }, node) =>
        [name, synset ?? name, ...synonyms].some(one => normalizeName(one) === wanted) ? [node] : [],
      );
    },
  };
}

function append(lists: Map<string, number[]>, key: string, node: number): void {
  const list = lists.get(key);
  if (list) list.push(node);
  else lists.set(key, [node]);
}

function childrenOf(parents: readonly (readonly number[])[]): number[][] {
  const children = parents.map((): number[] => []);
  for (const [node, above] of parents.entries()) for (const parent of above) children[parent].push(node);
  return children;
}

/** Nodes of which each is a parent of the one before, and the first one of the last; undefined when there is no such circle. */
function findCircle(parents: readonly (readonly number[])[]): number[] | undefined {
  const done = new Uint8Array(parents.length);
  const onPath = new Uint8Array(parents.length);
  for (let root = 0; root < parents.length; root++) {
    // Not recursive, as a chain of parents may be as long as the file.
    const path: { node: number; next: number }[] = done[root] ? [] : [{ node: root, next: 0 }];
    while (path.length > 0) {
      const top = path[path.length - 1];
      onPath[top.node] = 1;
      const parent = parents[top.node][top.next++];
      if (parent === undefined) {
        done[top.node] = 1;
        onPath[top.node] = 0;
        path.pop();
      } else if (onPath[parent]) {
        return path.slice(path.findIndex(({ node }) => node === parent)).map(({ node }) => node);
      } else if (!done[parent]) {
        path.push({ node: parent, next: 0 });
      }
    }
  }
  return undefined;
}
