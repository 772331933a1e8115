/** Finished cells on disk: a file each, named by the hash of everything its figures depend on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Group } from '../config/fields.ts';
import type { Config } from '../config/schema.ts';
import { SETTINGS } from '../config/settings.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { hashJson } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { versions } from '../run/manifest.ts';
import type { Method } from './method.ts';
import type { Figures } from './score.ts';

/** One line of a cell with its figures. */
export interface ScoredOutcome {
  part: string;
  step?: boolean;
  train: Figures;
  test?: Figures;
}

/** What a cell has come to. */
export interface CellResult {
  key: string;
  method: string;
  seed: number;
  /** Seconds that it took, those of stages that were there already not counted. */
  seconds: number;
  finished: string;
  outcomes: ScoredOutcome[];
}

/** Everything that decides the figures of a cell. */
export interface CellInputs {
  method: Method;
  config: Config;
  /** Hashes of images with the model that embeds them, of names, and of the labels it is compared with. */
  images: string;
  test: string | null;
  vocabulary: string;
  labels: string;
  /** The sentence model that scores names by their meaning. */
  semanticModel?: string;
}

/** Raise it when figures are computed otherwise. */
const VERSION = 1;

/** Settings of these are in the hashes of names and images, or change nothing but where and how fast it is computed. */
const ELSEWHERE = new Set([
  ...['vocab', 'embeddings', 'prototypes', 'names', 'rows'],
  ...['llmConcurrency', 'llmTimeout', 'track', 'mlflowUri'],
]);

/** The cell's key. */
export function keyOfCell({ method, config, ...hashes }: CellInputs): string {
  return hashJson({
    VERSION,
    method: method.name,
    settings: settingsRead(method.reads, config),
    // What makes no random choice is the same for all seeds.
    ...(method.reads.length > 0 && { seed: config.seed }),
    ...hashes,
    versions: versions(),
  });
}

/** The settings of some groups, and the templates, which all methods read. */
export function settingsRead(groups: readonly Group[], config: Config): Record<string, unknown> {
  const keys = SETTINGS.filter(({ group, key }) => groups.includes(group) && !ELSEWHERE.has(key)).map(({ key }) => key);
  return Object.fromEntries([...keys, 'templates' as const].map(key => [key, config[key]]));
}

// The figures are this program's own; only what is looked up by is checked.
const cellSchema = z.looseObject({
  key: z.string(),
  method: z.string(),
  seconds: z.number(),
  outcomes: z.array(z.looseObject({ part: z.string(), train: z.looseObject({ images: z.number() }) })),
});

/** The cell of a key, when it is finished; one that cannot be read is not. */
export async function readCell(folder: string, key: string): Promise<CellResult | undefined> {
  const path = pathOf(folder, key);
  if (!existsSync(path)) return undefined;
  const parsed = cellSchema.safeParse(await readJson(path).catch(() => undefined));
  return parsed.success && parsed.data.key === key ? (parsed.data as unknown as CellResult) : undefined;
}

/** Keeps the result of a finished cell. */
export async function writeCell(folder: string, cell: CellResult): Promise<void> {
  await writeAtomic(pathOf(folder, cell.key), `${JSON.stringify(cell)}\n`);
}

function pathOf(folder: string, key: string): string {
  return join(folder, 'cells', `${key.slice(0, 24)}.json`);
}
