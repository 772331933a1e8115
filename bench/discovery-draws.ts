/** The draws that methods of discovery are compared on: which images of which classes, and their features, kept on disk. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConcepts } from '../demo/concepts.ts';
import { loadUnseen } from '../demo/dataset.ts';
import { drawImage } from '../demo/draw.ts';
import { nouns } from '../demo/nouns.ts';
import type { Clip } from '../src/clip/clip.ts';
import { takeRows } from '../src/discover/row-pass.ts';
import { fillColor, makeView, normalise } from '../src/images/augment.ts';
import { writeAtomic } from '../src/io/atomic-write.ts';
import { hashFile, hashJson } from '../src/io/hash.ts';
import { readJson } from '../src/io/json.ts';
import { readNpyFloat32, writeNpy } from '../src/io/npy.ts';
import { random } from '../src/random.ts';

/** One kind of draw. */
export interface DrawKind {
  readonly name: string;
  readonly classes: number;
  /** Images of each class or, long-tailed, of the largest: the class of rank r has `images / r`. */
  readonly images: number;
  readonly tail?: boolean;
  /** Share of the classes whose name the vocabulary lacks. */
  readonly missing?: number;
  /** Number of clusters as a factor of the true one, or estimated. */
  readonly k: number | 'estimate';
  /** Of a draw that is made up: the shares of a feature that its kind has, and that other things have of its noise. */
  readonly mixture?: { readonly kind: number; readonly other: number };
  /** Column of the summary that it counts in. */
  readonly group: DrawGroup;
}

export const DRAW_GROUPS = ['balanced', 'long-tailed', 'names missing', 'K ±30 %', 'K estimated'] as const;
export type DrawGroup = (typeof DRAW_GROUPS)[number];

/** All that a method sees of a draw, and the truth that it does not. */
export interface Draw {
  readonly seed: number;
  readonly kind: DrawKind;
  readonly features: Float32Array; // [N, D]
  /** True names, [N]. */
  readonly truth: readonly string[];
  /** True names that are taken out of the vocabulary. */
  readonly missing: ReadonlySet<string>;
}

/** The kinds of the table, in its order. */
export const DRAW_KINDS: readonly DrawKind[] = [
  { name: 'balanced 10 × 40', classes: 10, images: 40, k: 1, group: 'balanced' },
  { name: 'balanced 30 × 40', classes: 30, images: 40, k: 1, group: 'balanced' },
  { name: 'balanced 60 × 20', classes: 60, images: 20, k: 1, group: 'balanced' },
  { name: 'balanced 30 × 10', classes: 30, images: 10, k: 1, group: 'balanced' },
  { name: 'balanced 30 × 40, K −30 %', classes: 30, images: 40, k: 0.7, group: 'K ±30 %' },
  { name: 'balanced 30 × 40, K +30 %', classes: 30, images: 40, k: 1.3, group: 'K ±30 %' },
  { name: 'balanced 30 × 40, K estimated', classes: 30, images: 40, k: 'estimate', group: 'K estimated' },
  { name: 'long-tailed 30', classes: 30, images: 200, tail: true, k: 1, group: 'long-tailed' },
  { name: 'long-tailed 60', classes: 60, images: 200, tail: true, k: 1, group: 'long-tailed' },
  { name: 'long-tailed 60, K estimated', classes: 60, images: 200, tail: true, k: 'estimate', group: 'K estimated' },
  {
    name: '30 × 40, a fifth of the names missing',
    classes: 30,
    images: 40,
    missing: 0.2,
    k: 1,
    group: 'names missing',
  },
  { name: 'long-tailed 60, K −30 %', classes: 60, images: 200, tail: true, k: 0.7, group: 'K ±30 %' },
  { name: 'long-tailed 60, K +30 %', classes: 60, images: 200, tail: true, k: 1.3, group: 'K ±30 %' },
  {
    name: 'long-tailed 60, a fifth of the names missing',
    classes: 60,
    images: 200,
    tail: true,
    missing: 0.2,
    k: 1,
    group: 'names missing',
  },
];

/** Side of the drawings in pixels, as in the demo. */
const SIDE = 96;
const BATCH = 128;

/** Classes of a seed with their numbers of images, in random order; those of a smaller draw are the first of a larger. */
export function classCounts(seed: number, { classes, images, tail = false }: DrawKind): Map<string, number> {
  const names = random(seed, 'demo classes')
    .shuffle([...nouns])
    .slice(0, classes);
  return new Map(names.map((name, c) => [name, tail ? Math.max(3, Math.round(images / (c + 1))) : images]));
}

/**
 * The draw of a seed and kind. Image n of a class is the demo's (`drawDemoImages`), whatever else the draw holds.
 * @param folder where features are kept; those of another model are other files
 */
export async function loadDraw(clip: Clip, folder: string, seed: number, kind: DrawKind): Promise<Draw> {
  const width = clip.config.projection_dim;
  const { rows, data } = await pool(clip, folder, seed);
  const at = new Map(rows.map((row, i) => [row, i]));
  const counts = classCounts(seed, kind);
  const images = [...counts].flatMap(([name, count]) => Array.from({ length: count }, (_, n) => ({ name, n })));
  random(seed, 'bench order').shuffle(images);
  const names = random(seed, 'bench missing').shuffle([...counts.keys()]);
  return {
    seed,
    kind,
    features: takeRows(
      data,
      width,
      images.map(({ name, n }) => at.get(`${name}/${n}`)!),
    ),
    truth: images.map(({ name }) => name),
    missing: new Set(names.slice(0, Math.round((kind.missing ?? 0) * names.length))),
  };
}

/** Features of all images that any kind of draw of this seed needs, drawn and embedded once. */
async function pool(clip: Clip, folder: string, seed: number): Promise<{ rows: string[]; data: Float32Array }> {
  const most = new Map<string, number>();
  for (const kind of DRAW_KINDS) {
    for (const [name, count] of classCounts(seed, kind)) most.set(name, Math.max(count, most.get(name) ?? 0));
  }
  const rows = [...most].flatMap(([name, count]) => Array.from({ length: count }, (_, n) => `${name}/${n}`));
  const model = hashJson(await Promise.all(clip.checkpoint.identity.map(hashFile))).slice(0, 16);
  const path = join(folder, model, `${seed}-${hashJson(rows).slice(0, 16)}`);
  if (!existsSync(`${path}.json`)) {
    const data = await embedDrawings(clip, seed, most);
    await mkdir(join(folder, model), { recursive: true });
    await writeNpy(`${path}.npy`, '<f4', [rows.length, clip.config.projection_dim], data);
    await writeAtomic(`${path}.json`, JSON.stringify(rows));
  }
  return { rows: (await readJson(`${path}.json`)) as string[], data: (await readNpyFloat32(`${path}.npy`)).data };
}

async function embedDrawings(clip: Clip, seed: number, counts: ReadonlyMap<string, number>): Promise<Float32Array> {
  const byName = new Map(loadConcepts().map(concept => [concept.name, concept]));
  const names = [...counts.keys()];
  const artwork = await loadUnseen(
    names.map(name => byName.get(name)!),
    SIDE,
  );
  const { size, mean, std, ...geometry } = clip.preprocess;
  const images = names.flatMap((name, c) => Array.from({ length: counts.get(name)! }, (_, n) => ({ name, c, n })));
  const out = new Float32Array(images.length * clip.config.projection_dim);
  for (let start = 0; start < images.length; start += BATCH) {
    const views = images.slice(start, start + BATCH).map(({ name, c, n }) => {
      const rng = random(seed, 'demo image', 'fit', name, n);
      const choices = artwork.flatMap(sprites => sprites.ofConcept[c].map(sprite => ({ sprites, sprite })));
      const { sprites, sprite } = choices[rng.int(choices.length)];
      const data = new Uint8Array(SIDE * SIDE * 3);
      drawImage(sprites, sprite, rng, data, { size: SIDE });
      const image = { data, width: SIDE, height: SIDE };
      return makeView(image, 'evaluation', size, rng, fillColor(mean), geometry);
    });
    out.set(await clip.embedImages(normalise(views, mean, std)), start * clip.config.projection_dim);
  }
  return out;
}
