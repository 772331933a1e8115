/** How right a run is, step by step, when the true labels are known (METHOD §5). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, parseConfig } from '../config/schema.ts';
import { S3aError } from '../errors.ts';
import { bootstrapShare, type Interval } from '../evaluate/bootstrap.ts';
import { type CalibrationReport, calibration } from '../evaluate/calibration.ts';
import { type ClusteringReport, evaluateClustering } from '../evaluate/clustering.ts';
import { type EvaluateOptions, evaluate, type Predictions, type Report, resampling } from '../evaluate/evaluate.ts';
import { createSemanticScorer, type SemanticScorer } from '../evaluate/semantic.ts';
import { openSentenceEncoder, SEMANTIC_MODEL } from '../evaluate/sentence-encoder.ts';
import { readJson } from '../io/json.ts';
import { type Row, readTable } from '../io/table.ts';
import { normalizeName } from '../vocab/vocabulary.ts';
import { vocabularyOf } from './brought.ts';
import { createRanker } from './evaluate-ranks.ts';
import type { RunHooks } from './events.ts';
import { UNKNOWN_LABEL } from './tables.ts';
import { nameOfLabel, readTruth } from './truth.ts';

export interface EvaluateRunOptions extends EvaluateOptions {
  /** Adds the semantic score by this sentence-embedding model; true for all-mpnet-base-v2 from the hub. */
  readonly semanticModel?: string | boolean;
}

export interface RunReport {
  folder: string;
  /** Images of the run that have a true label; everything below is about these. */
  images: number;
  /** Images of the run without one. */
  unlabelled: number;
  classes: number;
  /** True names that the vocabulary does not have, so that no step can find them. */
  outsideVocabulary: string[];
  /** The clusters of the first step, whatever they are called; the interval of their accuracy where it was asked for. */
  clusters: ClusteringReport & { interval?: Interval };
  /**
   * zero_shot, the steps of the vote, structural, and after training student and teacher; `label` where the run's labels are
   * none of these, since some are unknown.
   */
  stages: Record<string, Report>;
  /** Whether the confidences of the run's labels mean what they say, over the images that have a label. */
  calibration?: CalibrationReport;
  /** The model of the semantic scores. */
  semanticModel?: string;
  /** Zero-shot with the true names only, where the vocabulary has them all: what naming could reach without training. */
  bound?: Report;
}

/** Columns of labels.parquet that are not the names given by a step. */
const OTHER = new Set(['file_name', 'label', 'synset', 'confidence', 'margin', 'top_5', 'cluster']);
/**
 * Compares every step of a run with true labels.
 * @param labels a folder whose sub-folders are the classes, or a table with `file_name` and `label`
 * @throws S3aError RUN when there is no labelled run in the folder, LABELS when the labels are not those of its images; with a
 * semantic model as `openSentenceEncoder`
 */
export async function evaluateRun(
  folder: string,
  labels: string,
  { semanticModel, ...options }: EvaluateRunOptions = {},
  hooks: RunHooks = {},
): Promise<RunReport> {
  const rows = await readLabels(folder);
  const config = await readConfig(folder);
  const vocabulary = await vocabularyOf(config);
  const { kept, truth } = await keepLabelled(rows, labels, folder, nameOfLabel(vocabulary));
  const known = new Set(vocabulary.names);
  const classes = [...new Set(truth)].sort();
  const outsideVocabulary = classes.filter(name => !known.has(name));
  const spec = semanticModel === true ? SEMANTIC_MODEL : semanticModel || undefined;
  const ranker = await createRanker(folder, kept, config);
  return withScorer(spec, config, hooks, async scorer => {
    const report = async (predictions: Predictions): Promise<Report> => {
      hooks.signal?.throwIfAborted();
      const semantic = await scorer?.scores(predictions.names, truth);
      return evaluate({ ...predictions, semantic }, truth, options);
    };
    const stages: Record<string, Report> = {};
    for (const stage of Object.keys(rows[0]).filter(name => !OTHER.has(name))) {
      const names = kept.map(i => String(rows[i][stage] ?? ''));
      stages[stage] = await report({ names, ranked: await ranker(stage, names) });
    }
    const last = Object.keys(stages).at(-1);
    const final = kept.map(i => (rows[i].label === UNKNOWN_LABEL ? '' : String(rows[i].label ?? '')));
    if (final.some((name, j) => name !== String(rows[kept[j]][last ?? ''] ?? ''))) {
      stages.label = await report({ names: final });
    }
    const bound = outsideVocabulary.length > 0 ? undefined : await ranker('zero_shot', undefined, classes);
    return {
      folder,
      images: kept.length,
      unlabelled: rows.length - kept.length,
      classes: classes.length,
      outsideVocabulary,
      clusters: clustersReport(clustersOf(rows, kept), truth, options),
      stages,
      ...calibrationOf(
        final,
        truth,
        kept.map(i => rows[i].confidence),
      ),
      ...(spec && { semanticModel: spec }),
      ...(bound && { bound: await report({ names: bound.map(([name]) => name), ranked: bound }) }),
    };
  });
}

async function readLabels(folder: string): Promise<Row[]> {
  if (!existsSync(join(folder, 'manifest.json'))) {
    throw new S3aError('RUN', `there is no run in ${folder}`, 'Make one with s3a fit or s3a discover.');
  }
  const path = join(folder, 'labels.parquet');
  if (existsSync(path)) return readTable(path);
  throw new S3aError('RUN', `the run in ${folder} has no labels yet`, 'Go on with it by s3a realign or s3a train.');
}

/** The rows that have a true label, and these. */
async function keepLabelled(
  rows: readonly Row[],
  labels: string,
  folder: string,
  nameOf: (label: string) => string,
): Promise<{ kept: number[]; truth: string[] }> {
  const truths = (await readTruth(labels))(rows.map(row => String(row.file_name)));
  const kept: number[] = [];
  const truth: string[] = [];
  for (const [i, label] of truths.entries()) {
    if (label === undefined) continue;
    kept.push(i);
    truth.push(nameOf(label));
  }
  if (kept.length > 0) return { kept, truth };
  const [example] = rows;
  throw new S3aError(
    'LABELS',
    `none of the ${rows.length} images of ${folder} has a label in ${labels}`,
    `The file names must be those of the run, such as ${JSON.stringify(example?.file_name)}.`,
  );
}

/** Does the work with a scorer of names by a sentence model, which is opened and closed around it. */
async function withScorer<T>(
  spec: string | undefined,
  { threads }: Config,
  { onEvent, signal }: RunHooks,
  work: (scorer: SemanticScorer | undefined) => Promise<T>,
): Promise<T> {
  if (spec === undefined) return work(undefined);
  const encoder = await openSentenceEncoder(spec, {
    threads,
    signal,
    onProgress: ({ file, done, total }) =>
      onEvent?.({ type: 'progress', stage: 'download', done, total, unit: 'bytes', detail: { file } }),
    onWarning: message => onEvent?.({ type: 'warning', message }),
  });
  try {
    return await work(
      createSemanticScorer(encoder, (done, total) => onEvent?.({ type: 'progress', stage: 'evaluate', done, total })),
    );
  } finally {
    await encoder.dispose();
  }
}

/** Of the images with a name, where all of them have a confidence. */
function calibrationOf(
  names: readonly string[],
  truth: readonly string[],
  confidences: readonly unknown[],
): { calibration?: CalibrationReport } {
  const named = [...names.keys()].filter(i => names[i] !== '');
  const sure = named.map(i => confidences[i]);
  if (sure.length === 0 || !sure.every(share => typeof share === 'number')) return {};
  const right = named.map(i => normalizeName(names[i]) === truth[i]);
  return { calibration: calibration(sure, right) };
}

function clustersReport(
  clusters: Int32Array,
  truth: readonly string[],
  { bootstrap }: EvaluateOptions,
): RunReport['clusters'] {
  const report = evaluateClustering(clusters, truth);
  if (!bootstrap) return report;
  const right = Math.round(report.accuracy * truth.length);
  return { ...report, interval: bootstrapShare(right, truth.length, resampling(bootstrap)) };
}

function clustersOf(rows: readonly Row[], kept: readonly number[]): Int32Array {
  return Int32Array.from(kept, i => Number(rows[i].cluster));
}

async function readConfig(folder: string): Promise<Config> {
  const path = join(folder, 'config.json');
  const { images: _, ...settings } = (await readJson(path)) as Record<string, unknown>;
  return parseConfig(settings, path);
}
