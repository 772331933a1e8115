/** What scripts/goldens/discover.py and auto.py recorded, for the tests of src/discover. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { AutoParts } from '../src/discover/auto.ts';
import { readNpyFloat32 } from '../src/io/npy.ts';

const path = (name: string): string => fileURLToPath(new URL(`./goldens/discover/${name}`, import.meta.url));
const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(path(name), 'utf8')) as T;

/** A sparse matrix: the [name, score] pairs of each row by rising name. */
export type SparseRows = [name: number, score: number][][];

export interface RoundsCase {
  seed: number;
  clusters: number[];
  nearest: number[];
  rounds: { names: number[]; labels: number[] }[];
  counted: { clusters: number[]; votes: SparseRows; candidates: number[][] };
  prompts: { name: number; phrases: { phrase: string; weight: number }[] }[][];
  realign: { scores: SparseRows; names: number[]; labels: number[] };
}

export interface ClusteringRecord {
  plusPlus: { k: number; uniform: number[]; rows: number[] }[];
  lloyd: { start: number[]; maxIterations: number; labels: number[]; inertia: number; iterations: number }[];
  silhouettes: { labels: number[]; mean: number; samples?: number[] }[];
}

export interface AssignmentsRecord {
  vocabulary: number;
  cases: { votes: SparseRows; names: number[]; starved: number[]; total: number }[];
}

export interface AutoRecord {
  scale: number;
  /** On the clusters of `RoundsCase`; `features` is their number. */
  cases: { features: number; parts: AutoParts; named: number[]; labels: number[] }[];
}

/** Width of all recorded features. */
export const WIDTH = 32;

export const prototypes = (await readNpyFloat32(path('prototypes.npy'))).data;
export const phraseDirections = (await readNpyFloat32(path('phrases.npy'))).data;
export const features = await Promise.all(
  [0, 1, 2].map(async i => (await readNpyFloat32(path(`features-${i}.npy`))).data),
);
export const roundsRecord = await read<{ templates: string[]; cases: RoundsCase[] }>('rounds.json');
export const clusteringRecord = await read<ClusteringRecord>('clustering.json');
export const assignmentsRecord = await read<AssignmentsRecord>('assignments.json');
export const autoRecord = await read<AutoRecord>('auto.json');
