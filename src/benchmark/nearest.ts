/** Names by the nearest prototype, as predictions. */
import type { Config } from '../config/schema.ts';
import { nearestNames } from '../discover/nearest.ts';
import { type Rows, takeRows } from '../discover/row-pass.ts';
import type { Embedded } from '../run/embed.ts';
import type { Found } from '../run/fit.ts';
import type { MethodContext, Outcome, Predicted } from './method.ts';

/** Names kept for top-k. */
const MOST_NAMES = 10;

export interface Table {
  names: readonly string[];
  /** [names, width] unit rows. */
  prototypes: Float32Array;
}

/**
 * The nearest names of images by their features [N, width], ranked.
 * @param among rows of the table to choose from; default all
 */
export async function byNearest(
  files: readonly string[],
  { features, width }: { features: Float32Array | Rows; width: number },
  { names, prototypes }: Table,
  { threads, device }: Pick<Config, 'threads' | 'device'>,
  among?: Int32Array,
): Promise<Predicted> {
  const rows = among === undefined ? prototypes : takeRows(prototypes, width, among);
  const { top, indices } = await nearestNames(features, rows, { width, top: MOST_NAMES, threads, device });
  const nameOf = (column: number): string => names[among === undefined ? column : among[column]];
  const ranked = files.map((_, i) => Array.from(indices.subarray(i * top, (i + 1) * top), nameOf));
  return { files, names: ranked.map(([first]) => first), ranked };
}

/** The nearest names of a table for the images of both splits, by the model as it is. */
export async function zeroShot(
  { config, filesOf, test: unseen }: MethodContext,
  embedded: Embedded,
  table: Table,
): Promise<Outcome> {
  return {
    part: '',
    train: await byNearest(filesOf(embedded), embedded, table, config),
    ...(unseen && { test: await byNearest(filesOf(unseen), unseen, table, config) }),
  };
}

/**
 * What a discovery that has no head of its own says: its labels [N] on the images it saw, and on unseen ones the nearest
 * of the names it has found.
 */
export async function byDiscovery(
  { config, filesOf, test: unseen }: MethodContext,
  { embedded, named: { vocabulary, prototypes } }: Pick<Found, 'embedded' | 'named'>,
  { clusters, labels, part }: { clusters: Int32Array; labels: Int32Array; part: string },
): Promise<Outcome> {
  const table = { names: vocabulary.names, prototypes };
  return {
    part,
    train: { files: filesOf(embedded), names: named(labels, vocabulary.names), clusters },
    ...(unseen && { test: await byNearest(filesOf(unseen), unseen, table, config, distinct(labels)) }),
  };
}

/** The distinct labels, rising; −1, which is no name, left out. */
export function distinct(labels: Int32Array): Int32Array {
  return Int32Array.from(new Set(labels))
    .filter(label => label >= 0)
    .sort();
}

/** Labels as names; −1 is the empty text, which is no name. */
export function named(labels: Int32Array, names: readonly string[]): string[] {
  return Array.from(labels, label => names[label] ?? '');
}
