/** Seeded features shaped like those of a large CLIP with in21k, to see that nothing hangs on the embedded model. */
import { cluster } from '../src/discover/cluster.ts';
import { neighbourGraph } from '../src/discover/neighbours.ts';
import { takeRows } from '../src/discover/row-pass.ts';
import { random } from '../src/random.ts';
import type { Bench, Context } from './discovery-context.ts';
import type { DrawKind } from './discovery-draws.ts';

/**
 * Draws of the mixture. The shares of an image's feature that its kind and its own noise have are chosen so that zero-shot,
 * the vote and the true names alone get about what the paper reports for ImageNet-100.
 */
export const MIXTURE_KINDS: readonly DrawKind[] = [
  { name: 'mixture 100 × 50', classes: 100, images: 50, k: 1, group: 'balanced', mixture: { kind: 0.3, other: 0.5 } },
  {
    name: 'mixture 100, long-tailed',
    classes: 100,
    images: 200,
    tail: true,
    k: 1,
    group: 'long-tailed',
    mixture: { kind: 0.3, other: 0.5 },
  },
  {
    name: 'mixture 100 × 50, K −30 %',
    classes: 100,
    images: 50,
    k: 0.7,
    group: 'K ±30 %',
    mixture: { kind: 0.3, other: 0.5 },
  },
  {
    name: 'mixture 100 × 50, a fifth of the names missing',
    classes: 100,
    images: 50,
    missing: 0.2,
    k: 1,
    group: 'names missing',
    mixture: { kind: 0.3, other: 0.5 },
  },
];

const WIDTH = 512;
const SCALE = 100;
const NAMES = 20_071;
const FAMILIES = 1500;
const GROUPS = 60;
/** How far all images of a kind lie off its name, against the name itself. */
const OFF = 2.4;
/** How much names differ in their nearness to all images. */
const HUBS = 0.02;
const STARTS = 3;

interface Names {
  readonly prototypes: Float32Array;
  readonly families: Int32Array;
  /** The part of a name that images share, a unit row. */
  readonly meaning: (name: number) => Float64Array;
}

let known: Names | undefined;

/** A unit row in the direction of a weighted sum. */
function mix(...parts: readonly (readonly [weight: number, row: Float64Array])[]): Float64Array {
  const sum = new Float64Array(WIDTH);
  for (const [weight, row] of parts) for (let d = 0; d < WIDTH; d++) sum[d] += weight * row[d];
  const norm = Math.hypot(...sum);
  return sum.map(value => value / norm);
}

function direction(...path: (string | number)[]): Float64Array {
  const draw = random('bench mixture', ...path);
  return mix([1, Float64Array.from({ length: WIDTH }, () => draw.normal())]);
}

/** Names in families, families in groups: near synonyms have cosines of about 0.9, any two names about 0.65. */
function names(): Names {
  if (known) return known;
  const groups = Array.from({ length: GROUPS }, (_, g) => direction('group', g));
  const familyRows = Array.from({ length: FAMILIES }, (_, f) =>
    mix([1, groups[f % GROUPS]], [1.2, direction('family', f)]),
  );
  const draw = random('bench mixture', 'names');
  const [ofText, ofImages] = [direction('text'), direction('images')];
  const families = Int32Array.from({ length: NAMES }, () => draw.int(FAMILIES));
  const meaning = (name: number): Float64Array => mix([1.2, familyRows[families[name]]], [1, direction('name', name)]);
  const prototypes = new Float32Array(NAMES * WIDTH);
  for (let name = 0; name < NAMES; name++) {
    const row = mix([Math.sqrt(0.65), ofText], [Math.sqrt(0.35), meaning(name)], [HUBS * draw.normal(), ofImages]);
    prototypes.set(row, name * WIDTH);
  }
  known = { prototypes, families, meaning };
  return known;
}

/** True names of a draw, a few of each family as data sets have them. */
function classesOf(seed: number, count: number, families: Int32Array): number[] {
  const draw = random('bench mixture', 'classes', seed);
  const members = Array.from({ length: FAMILIES }, (): number[] => []);
  families.forEach((family, name) => {
    members[family].push(name);
  });
  return draw
    .shuffle(members)
    .flatMap(list => draw.shuffle(list).slice(0, 1 + draw.int(3)))
    .slice(0, count);
}

/** A draw of the mixture; there are no images, no glosses and no texts, so that methods that prompt have nothing to say. */
export async function openMixture(bench: Bench, seed: number, kind: DrawKind): Promise<Context> {
  const { prototypes, families, meaning } = names();
  const { threads } = bench;
  const { kind: ofKind, other } = kind.mixture!;
  const classes = classesOf(seed, kind.classes, families);
  const images = random('bench mixture', 'order', seed).shuffle(
    classes.flatMap((name, c) => {
      const count = kind.tail ? Math.max(3, Math.round(kind.images / (c + 1))) : kind.images;
      return Array.from({ length: count }, (_, n) => ({ name, n }));
    }),
  );
  const centres = new Map(classes.map(name => [name, mix([1, meaning(name)], [OFF, direction('off', name)])]));
  const ofImages = direction('images');
  const features = new Float32Array(images.length * WIDTH);
  images.forEach(({ name, n }, i) => {
    // What else is in the picture looks like another name.
    const beside = meaning(random('bench mixture', 'beside', seed, name, n).int(NAMES));
    const noise = mix([1, direction('image', seed, name, n)], [other, beside]);
    const rest = Math.sqrt(0.5 - ofKind);
    features.set(mix([Math.sqrt(0.5), ofImages], [Math.sqrt(ofKind), centres.get(name)!], [rest, noise]), i * WIDTH);
  });
  const missing = new Set(classes.slice(0, Math.round((kind.missing ?? 0) * classes.length)));
  const kept = Array.from({ length: NAMES }, (_, name) => name).filter(name => !missing.has(name));
  const rowOf = new Map(kept.map((name, row) => [name, row]));
  const clusters = new Map<number, Promise<Int32Array>>();
  return {
    seed,
    kind,
    features,
    truth: images.map(({ name }) => String(name)),
    missing: new Set([...missing].map(String)),
    bench: { ...bench, width: WIDTH, scale: SCALE },
    entries: kept.map(name => ({ name: String(name), synsets: [] })),
    prototypes: missing.size > 0 ? takeRows(prototypes, WIDTH, kept) : prototypes,
    answers: Int32Array.from(images, ({ name }) => rowOf.get(name) ?? -1),
    k: Math.round((kind.k as number) * kind.classes),
    clusters: k => {
      const options = { width: WIDTH, k, nInit: STARTS, seed: 0, threads };
      const made = clusters.get(k) ?? cluster(features, options).then(({ labels }) => labels);
      clusters.set(k, made);
      return made;
    },
    graph: (count, most, within) => neighbourGraph(features, { width: WIDTH, count, threads, most, clusters: within }),
  };
}
