/** All noun synsets of WordNet 3.0, with ImageNet's marked; scripts/build-vocab.mjs makes the data and describes it. */
import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { packageFile } from './package-root.ts';

/** A table of synsets in the order of their WordNet 3.0 offsets; `line` is a place in it, from 0. */
export interface Wordnet {
  /** 82,115 synsets. */
  readonly size: number;
  /** One digit a synset: 1 for ImageNet-1k, 2 for ImageNet-21k, 3 for both, 0 for neither. */
  readonly sets: string;
  /** The lemmas of each synset, joined by `|`, as WordNet writes them but with spaces; synsets are parted by line breaks. */
  readonly lemmaText: string;
  /** `n` and the eight digits of the offset. */
  id(line: number): string;
  lemmas(line: number): string[];
  /** Places of the hypernyms; none only for `entity`. */
  parents(line: number): readonly number[];
  /** The definition without example sentences. */
  gloss(line: number): string;
  /** The place of an id such as `n02084071`; undefined for what is none of the table. */
  lineOf(id: string): number | undefined;
}

let table: Wordnet | undefined;

/** The table, read once; what is not needed for names is decoded when it is first asked for. */
export function loadWordnet(): Wordnet {
  table ??= openWordnet();
  return table;
}

/** The first lemma of a synset by its id, as WordNet writes it; undefined for an id that is none of a noun. */
export function firstLemma(id: string): string | undefined {
  const line = loadWordnet().lineOf(id);
  return line === undefined ? undefined : loadWordnet().lemmas(line)[0];
}

function openWordnet(): Wordnet {
  const [sets, lemmaText, offsetText, parentText] = readData('nouns.br').split('\f');
  const [lemmas, steps, above] = [lemmaText, offsetText, parentText].map(text => once(() => linesOf(text)));
  const glosses = once(() => linesOf(readData('glosses.br')));
  const offsets = once(() => {
    const all = new Int32Array(sets.length);
    for (let line = 0, offset = 0; line < all.length; line++) {
      offset += Number.parseInt(steps()(line), 36);
      all[line] = offset;
    }
    return all;
  });
  return {
    size: sets.length,
    sets,
    lemmaText,
    id: line => `n${String(offsets()[line]).padStart(8, '0')}`,
    lemmas: line => lemmas()(line).split('|'),
    parents(line) {
      const distances = above()(line);
      return distances === '' ? [] : distances.split(',').map(distance => line - Number.parseInt(distance, 36));
    },
    gloss: line => glosses()(line),
    lineOf(id) {
      if (!/^n\d{8}$/.test(id)) return undefined;
      const line = offsets().indexOf(Number(id.slice(1)));
      return line < 0 ? undefined : line;
    },
  };
}

function readData(name: string): string {
  // WordNet is ASCII, which is quickest to decode as Latin-1.
  return brotliDecompressSync(readFileSync(packageFile(`src/vocab/data/${name}`))).toString('latin1');
}

/** The lines of a text by their number, each cut out when it is asked for. */
function linesOf(text: string): (line: number) => string {
  const ends: number[] = [];
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) ends.push(end);
  return line => text.slice(line === 0 ? 0 : ends[line - 1] + 1, ends[line] ?? text.length);
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
