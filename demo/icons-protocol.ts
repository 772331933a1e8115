/** The protocol `icons`: drawn images of emoji as a data set, in five kinds, for `s3a bench`. */
import type { RecordSource } from '../src/protocols/image-source.ts';
import type { Protocol, RawProtocol, RawSplit } from '../src/protocols/protocol.ts';
import { registerProtocol } from '../src/protocols/registry.ts';
import { random } from '../src/random.ts';
import type { Concept as Entry } from '../src/vocab/vocabulary.ts';
import { glossOf, loadConcepts } from './concepts.ts';
import { loadUnseen } from './dataset.ts';
import { drawImage } from './draw.ts';
import { nouns, nounsByKind } from './nouns.ts';

/** One kind of drawn data set. */
export interface IconKind {
  name: string;
  title: string;
  /** The classes of a seed are drawn from these. */
  from: readonly string[];
  classes: number;
  /** Training images of the class of rank r, counted from 0. */
  images: (rank: number) => number;
  /** Test images of each class. */
  testImages: number;
  /** The names to choose from; `nouns` are those that any class could have. */
  vocab: 'demo' | 'demo+in21k' | 'nouns';
}

const CLASSES = 24;
const PER_CLASS = 25;
const TEST_IMAGES = 10;
/** The largest class of a long tail, and the least that a class has. */
const [HEAD, LEAST] = [150, 4];
/** Side of the drawings in pixels. */
const SIDE = 96;

const balanced: Omit<IconKind, 'name' | 'title'> = {
  from: nouns,
  classes: CLASSES,
  images: () => PER_CLASS,
  testImages: TEST_IMAGES,
  vocab: 'demo',
};

/** The kinds, the plain one first. */
export const ICON_KINDS: readonly IconKind[] = [
  { ...balanced, name: 'icons', title: 'Icons' },
  {
    ...balanced,
    name: 'icons-long-tailed',
    title: 'Icons, long-tailed',
    images: rank => Math.max(LEAST, Math.round(HEAD / (rank + 1))),
  },
  { ...balanced, name: 'icons-animals', title: 'Icons, animals only', from: nounsByKind.animals },
  { ...balanced, name: 'icons-small', title: 'Icons, small vocabulary', vocab: 'nouns' },
  { ...balanced, name: 'icons-large', title: 'Icons, large vocabulary', vocab: 'demo+in21k' },
];

/** Makes the kinds known to `s3a bench`. */
export function registerIcons(kinds: readonly IconKind[] = ICON_KINDS): void {
  for (const kind of kinds) registerProtocol(iconsProtocol(kind));
}

/** The data set of a kind: other classes and drawings for each seed. Image n of a class depends on (seed, split, class, n). */
export function iconsProtocol(kind: IconKind): Protocol {
  return {
    name: kind.name,
    title: kind.title,
    source: 'drawn by the program itself',
    size: {},
    drawn: true,
    async read(_folder, seed): Promise<RawProtocol> {
      const names = random(seed, 'icons classes', kind.name)
        .shuffle([...kind.from])
        .slice(0, kind.classes);
      const vocab = kind.vocab === 'nouns' ? nounEntries() : kind.vocab;
      const train = split(
        kind,
        names,
        seed,
        'train',
        names.map((_, rank) => kind.images(rank)),
      );
      const test = split(
        kind,
        names,
        seed,
        'test',
        names.map(() => kind.testImages),
      );
      return { classes: names.map(name => ({ name })), vocab, splits: { train, test } };
    },
  };
}

function split(
  kind: IconKind,
  names: readonly string[],
  seed: number,
  which: 'train' | 'test',
  counts: readonly number[],
): RawSplit {
  const rows = names.flatMap((name, c) => Array.from({ length: counts[c] }, (_, n) => ({ name, c, n })));
  const source: RecordSource = {
    kind: 'records',
    count: rows.length,
    archives: [],
    id: JSON.stringify(['icons', 1, kind.name, which, seed, names, counts, SIDE]),
    origin: index => `${rows[index].name}/${rows[index].n}`,
    async *read() {
      const byName = new Map(loadConcepts().map(concept => [concept.name, concept]));
      const artwork = await loadUnseen(
        names.map(name => byName.get(name)!),
        SIDE,
      );
      for (const [index, { name, c, n }] of rows.entries()) {
        const rng = random(seed, 'icons image', which, name, n);
        const choices = artwork.flatMap(sprites => sprites.ofConcept[c].map(sprite => ({ sprites, sprite })));
        const { sprites, sprite } = choices[rng.int(choices.length)];
        const data = new Uint8Array(SIDE * SIDE * 3);
        drawImage(sprites, sprite, rng, data, { size: SIDE });
        yield { index, image: { data, width: SIDE, height: SIDE } };
      }
    },
  };
  return { source, labels: rows.map(({ c }) => c) };
}

/** The concepts that a class may be, with their glosses. */
function nounEntries(): Entry[] {
  const wanted = new Set(nouns);
  return loadConcepts()
    .filter(({ name }) => wanted.has(name))
    .map(concept => ({ synonyms: [concept.name], gloss: glossOf(concept) }));
}
