/** Run folders that begin with what other run folders have computed already: finished stages are linked with their keys. */
import { existsSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isTemporary, writeAtomic, writeError } from '../io/atomic-write.ts';
import type { RunHooks, StageName } from '../run/events.ts';
import { LOCK_FILE } from '../run/lock.ts';
import { newManifest, readManifest, writeManifest } from '../run/manifest.ts';
import { type Run, type RunConfig, reopenRun } from '../run/store.ts';

/** What belongs to one run alone: its settings, its training and its results, and what is appended to in place. */
const OWN = new Set([
  LOCK_FILE,
  ...['config.json', 'manifest.json', 'metrics.jsonl', 'prompts-cache.jsonl', 'predictions.parquet'],
  ...['labels.csv', 'labels.jsonl', 'labels.parquet', 'classes.json', 'overview.png'],
  ...['checkpoints', 'model', 'tensorboard', 'embeddings/student.npy', 'embeddings/teacher.npy'],
]);
const OWN_STAGES: ReadonlySet<StageName> = new Set(['train', 'label']);

/**
 * Opens the run in `folder` with the given settings. A new one begins with the finished stages of `sources`, those of the first
 * that has them; each stage compares its key, so that what was made from other inputs is made again. Files are linked, and as
 * every artefact is replaced by renaming, never written in place, the source keeps its own.
 * @param config complete, with the images
 * @throws S3aError WRITE, and what opening a run throws
 */
export async function openShared(
  folder: string,
  config: RunConfig,
  sources: readonly string[],
  hooks: RunHooks,
): Promise<Run> {
  if (!existsSync(join(folder, 'manifest.json'))) await begin(folder, sources);
  await writeAtomic(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  return reopenRun(folder, {}, hooks);
}

async function begin(folder: string, sources: readonly string[]): Promise<void> {
  // What a killed process left of it has no manifest and is begun anew.
  await rm(folder, { recursive: true, force: true });
  const temporary = `${folder}.new`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  const manifest = newManifest();
  for (const source of sources) {
    if (!existsSync(join(source, 'manifest.json'))) continue;
    const { stages } = await readManifest(source);
    for (const [stage, record] of Object.entries(stages)) {
      if (!OWN_STAGES.has(stage as StageName)) manifest.stages[stage] ??= record;
    }
    await linkAll(source, temporary, '');
  }
  await writeManifest(temporary, manifest);
  await rename(temporary, folder).catch(error => {
    throw writeError(folder, error);
  });
}

async function linkAll(from: string, to: string, below: string): Promise<void> {
  for (const entry of await readdir(join(from, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (OWN.has(path) || isTemporary(entry.name) || entry.name.startsWith('parts-')) continue;
    if (entry.isDirectory()) await linkAll(from, to, path);
    else if (!existsSync(join(to, path))) {
      await mkdir(dirname(join(to, path)), { recursive: true });
      // Some disks have no links.
      await link(join(from, path), join(to, path)).catch(() => copyFile(join(from, path), join(to, path)));
    }
  }
}
