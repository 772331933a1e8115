/** How right a run is, step by step, when the true labels are known (METHOD §5). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, parseConfig } from '../config/schema.ts';
import { nearestNames } from '../discover/nearest.ts';
import { takeRows } from '../discover/row-pass.ts';
import { S3aError } from '../errors.ts';
import { type ClusteringReport, evaluateClustering } from '../evaluate/clustering.ts';
import { evaluate, type Report } from '../evaluate/evaluate.ts';
import { readJson } from '../io/json.ts';
import { readNpyFloat32 } from '../io/npy.ts';
import { type Row, readTable } from '../io/table.ts';
import { normalizeName } from '../vocab/vocabulary.ts';
import { vocabularyOf } from './brought.ts';
import type { RunHooks } from './events.ts';
import { nameOfLabel, readTruth } from './truth.ts';

export interface RunReport {
  folder: string;
  /** Images of the run that have a true label; everything below is about these. */
  images: number;
  /** Images of the run without one. */
  unlabelled: number;
  classes: number;
  /** True names that the vocabulary does not have, so that no step can find them. */
  outsideVocabulary: string[];
  /** The clusters of the first step, whatever they are called. */
  clusters: ClusteringReport;
  /** zero_shot, the steps of the vote, structural, and after training student and teacher. */
  stages: Record<string, Report>;
  /** Zero-shot with the true names only, where the vocabulary has them all: what naming could reach without training. */
  bound?: Report;
}

/** Columns of labels.parquet that are not the names given by a step. */
const OTHER = new Set(['file_name', 'label', 'synset', 'confidence', 'margin', 'top_5', 'cluster']);
/** Where the features lie that a step chose its names by. */
const FEATURES: Readonly<Record<string, string>> = {
  zero_shot: 'embeddings/images.npy',
  student: 'embeddings/student.npy',
  teacher: 'embeddings/teacher.npy',
};
const MOST_NAMES = 10;

/**
 * Compares every step of a run with true labels.
 * @param labels a folder whose sub-folders are the classes, or a table with `file_name` and `label`
 * @throws S3aError RUN when there is no labelled run in the folder, LABELS when the labels are not those of its images
 */
export async function evaluateRun(folder: string, labels: string, { signal }: RunHooks = {}): Promise<RunReport> {
  const path = join(folder, 'labels.parquet');
  if (!existsSync(join(folder, 'manifest.json'))) {
    throw new S3aError('RUN', `there is no run in ${folder}`, 'Make one with s3a fit or s3a discover.');
  }
  if (!existsSync(path)) {
    throw new S3aError('RUN', `the run in ${folder} has no labels yet`, 'Go on with it by s3a realign or s3a train.');
  }
  const config = await readConfig(folder);
  const vocabulary = await vocabularyOf(config);
  const [rows, truthOf] = [await readTable(path), await readTruth(labels)];
  const nameOf = nameOfLabel(vocabulary);
  const kept: number[] = [];
  const truth: string[] = [];
  for (const [i, row] of rows.entries()) {
    const label = truthOf(String(row.file_name));
    if (label === undefined) continue;
    kept.push(i);
    truth.push(nameOf(label));
  }
  if (kept.length === 0) {
    const [example] = rows;
    throw new S3aError(
      'LABELS',
      `none of the ${rows.length} images of ${folder} has a label in ${labels}`,
      `The file names must be those of the run, such as ${JSON.stringify(example?.file_name)}.`,
    );
  }
  const known = new Map(vocabulary.names.map((name, i) => [name, i]));
  const classes = [...new Set(truth)].sort();
  const outsideVocabulary = classes.filter(name => !known.has(name));
  const ranker = await createRanker(folder, kept, config);
  const stages: Record<string, Report> = {};
  for (const stage of Object.keys(rows[0]).filter(name => !OTHER.has(name))) {
    signal?.throwIfAborted();
    const names = kept.map(i => String(rows[i][stage] ?? ''));
    const ranked = await ranker(stage, names);
    stages[stage] = evaluate({ names, ranked }, truth);
  }
  const bound = outsideVocabulary.length > 0 ? undefined : await ranker('zero_shot', undefined, classes);
  return {
    folder,
    images: kept.length,
    unlabelled: rows.length - kept.length,
    classes: classes.length,
    outsideVocabulary,
    clusters: evaluateClustering(clustersOf(rows, kept), truth),
    stages,
    ...(bound && { bound: evaluate({ names: bound.map(([name]) => name), ranked: bound }, truth) }),
  };
}

type Ranker = (
  stage: string,
  first: readonly string[] | undefined,
  among?: readonly string[],
) => Promise<string[][] | undefined>;

/** Each kept image's best names by the features of a step, among all names or some; undefined where there are none. */
async function createRanker(folder: string, kept: readonly number[], { threads, device }: Config): Promise<Ranker> {
  const [tablePath, namesPath] = [join(folder, 'embeddings/prototypes.npy'), join(folder, 'embeddings/names.json')];
  if (!existsSync(tablePath) || !existsSync(namesPath)) return async () => undefined;
  const { shape, data } = await readNpyFloat32(tablePath);
  const [, width] = shape;
  const all = (await readJson(namesPath)) as string[];
  return async (stage, first, among = all) => {
    const path = join(folder, FEATURES[stage] ?? 'none');
    if (!existsSync(path)) return undefined;
    const features = takeRows((await readNpyFloat32(path)).data, width, Int32Array.from(kept));
    const rows =
      among === all
        ? data
        : takeRows(
            data,
            width,
            Int32Array.from(among, name => all.indexOf(name)),
          );
    const { top, indices } = await nearestNames(features, rows, { width, top: MOST_NAMES, threads, device });
    const ranked = kept.map((_, i) => Array.from(indices.subarray(i * top, (i + 1) * top), column => among[column]));
    // Features of another time than the labels say nothing about them.
    if (first?.some((name, i) => normalizeName(name) !== ranked[i][0])) return undefined;
    return ranked;
  };
}

function clustersOf(rows: readonly Row[], kept: readonly number[]): Int32Array {
  return Int32Array.from(kept, i => Number(rows[i].cluster));
}

async function readConfig(folder: string): Promise<Config> {
  const path = join(folder, 'config.json');
  const { images: _, ...settings } = (await readJson(path)) as Record<string, unknown>;
  return parseConfig(settings, path);
}
