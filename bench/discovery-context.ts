/** What every method gets of a draw: features, names, clusters and the neighbour graph, computed once and kept on disk. */
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clip } from '../src/clip/clip.ts';
import { prototypes as makePrototypes, TEMPLATES } from '../src/clip/prototypes.ts';
import { cluster } from '../src/discover/cluster.ts';
import { estimateK } from '../src/discover/estimate-k.ts';
import { type NeighbourGraph, neighbourGraph } from '../src/discover/neighbours.ts';
import { takeRows } from '../src/discover/row-pass.ts';
import { writeAtomic } from '../src/io/atomic-write.ts';
import { hashFile, hashJson } from '../src/io/hash.ts';
import { readJson } from '../src/io/json.ts';
import { loadVocabulary, type VocabularyEntry } from '../src/vocab/vocabulary.ts';
import { classCounts, type Draw, type DrawKind, loadDraw } from './discovery-draws.ts';

/** A model with its vocabulary, shared by all draws. */
export interface Bench {
  readonly clip: Clip;
  readonly entries: readonly VocabularyEntry[];
  /** [V, D] unit rows. */
  readonly prototypes: Float32Array;
  readonly width: number;
  /** Factor of cosines before a softmax. */
  readonly scale: number;
  readonly folder: string;
  readonly threads: number | undefined;
  /** Features of texts, each encoded once. */
  readonly encodeTexts: (texts: readonly string[]) => Promise<Float32Array>;
}

export interface Context extends Draw {
  readonly bench: Bench;
  readonly entries: readonly VocabularyEntry[];
  readonly prototypes: Float32Array;
  /** [N] row of the true name, −1 where the vocabulary lacks it. */
  readonly answers: Int32Array;
  /** The number of clusters that a user would have got or given. */
  readonly k: number;
  /** The neighbour graph; with more than `most` images, within clusters and those next to them. */
  readonly graph: (count: number, most?: number, clusters?: Int32Array) => Promise<NeighbourGraph>;
  /** [N] clusters by k-means for so many. */
  readonly clusters: (k: number) => Promise<Int32Array>;
}

/** Starts of k-means, as `--preset quick` has them. */
const STARTS = 8;

export async function openBench(clip: Clip, folder: string, threads: number | undefined): Promise<Bench> {
  const { entries } = await loadVocabulary('demo');
  const width = clip.config.projection_dim;
  const known = new Map<string, Float32Array>();
  const encodeTexts = async (texts: readonly string[]): Promise<Float32Array> => {
    const open = [...new Set(texts)].filter(text => !known.has(text));
    if (open.length > 0) {
      const rows = await clip.embedTexts(open);
      open.forEach((text, i) => {
        known.set(text, rows.subarray(i * width, (i + 1) * width));
      });
    }
    const out = new Float32Array(texts.length * width);
    texts.forEach((text, i) => {
      out.set(known.get(text)!, i * width);
    });
    return out;
  };
  const prototypes = await makePrototypes(
    entries.map(({ name }) => name),
    TEMPLATES,
    clip.embedTexts,
  );
  const model = hashJson(await Promise.all(clip.checkpoint.identity.map(hashFile))).slice(0, 16);
  const scale = clip.logitScale;
  return { clip, entries, prototypes, width, scale, folder: join(folder, model), threads, encodeTexts };
}

export async function openContext(bench: Bench, seed: number, kind: DrawKind): Promise<Context> {
  const { width, threads } = bench;
  const draw = await loadDraw(bench.clip, dirname(bench.folder), seed, kind);
  const kept = bench.entries.flatMap(({ name }, i) => (draw.missing.has(name) ? [] : [i]));
  const entries = kept.map(i => bench.entries[i]);
  const rowOf = new Map(entries.map(({ name }, i) => [name, i]));
  const images = hashJson([...classCounts(seed, kind)]).slice(0, 12);
  const code = await hashOfCode([['../src/discover', /^(cluster|estimate-k|silhouette)\.|^kmeans\b/]]);
  const keep = async <T>(name: string, compute: () => Promise<T>): Promise<T> => {
    const path = join(bench.folder, 'clusters', code, `${seed}-${images}-${name}.json`);
    if (!existsSync(path)) {
      await mkdir(dirname(path), { recursive: true });
      await writeAtomic(path, JSON.stringify(await compute()));
    }
    return (await readJson(path)) as T;
  };
  const clusters = async (k: number): Promise<Int32Array> =>
    Int32Array.from(
      await keep(`k${k}`, async () => [
        ...(await cluster(draw.features, { width, k, nInit: STARTS, seed: 0, threads })).labels,
      ]),
    );
  // As the cluster stage does it for `--preset quick`.
  const estimate = (): Promise<number> =>
    keep('estimate', async () => {
      const low = Math.min(5, Math.max(2, Math.floor(draw.truth.length / 20)));
      return (await estimateK(draw.features, { width, low, high: 200, seed: 0, threads })).k;
    });
  return {
    ...draw,
    bench,
    entries,
    prototypes: takeRows(bench.prototypes, width, kept),
    answers: Int32Array.from(draw.truth, name => rowOf.get(name) ?? -1),
    k: kind.k === 'estimate' ? await estimate() : Math.max(2, Math.round(kind.k * kind.classes)),
    clusters,
    graph: (count, most, within) => neighbourGraph(draw.features, { width, count, threads, most, clusters: within }),
  };
}

/**
 * Changes with the code in some rooms, so that nothing that other code has computed is taken for its own.
 * @param rooms folders beside this one, and which of their files count by their paths in them; tests never do
 */
export async function hashOfCode(rooms: readonly (readonly [folder: string, wanted: RegExp])[]): Promise<string> {
  const hashes: string[] = [];
  for (const [folder, wanted] of rooms) {
    const room = fileURLToPath(new URL(folder, import.meta.url));
    const files = (await readdir(room, { recursive: true })).filter(file => /(?<!\.test|\.d)\.[jt]s$/.test(file));
    hashes.push(
      ...(await Promise.all(
        files
          .filter(file => wanted.test(file))
          .sort()
          .map(file => hashFile(join(room, file))),
      )),
    );
  }
  return hashJson(hashes).slice(0, 16);
}
