/** The run folder: its configuration, its stages with their keys, and the model they share. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Clip } from '../clip/clip.ts';
import { type Config, parseConfig } from '../config/schema.ts';
import { type FileRows, openRows } from '../discover/npy-rows.ts';
import type { Rows } from '../discover/row-pass.ts';
import { S3aError } from '../errors.ts';
import { isTemporary, makeFolder, removeTemporaries, writeAtomic } from '../io/atomic-write.ts';
import { hashJson } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { BUILT_IN_VOCABULARIES } from '../vocab/vocabulary.ts';
import { isBrought } from './brought.ts';
import { takenDevice } from './device.ts';
import type { RunHooks, StageName } from './events.ts';
import { LOCK_FILE, lockRun } from './lock.ts';
import { type Manifest, newManifest, readManifest, writeManifest } from './manifest.ts';
import { hashOfModel, openModel } from './model.ts';

/** What a stage reports about itself, kept in the manifest. */
export type StageInfo = Record<string, unknown>;

/** The outcome of one stage in this process. */
export interface StageOutcome {
  readonly seconds: number;
  readonly skipped: boolean;
  readonly info: StageInfo;
}

/** Stages that leave something to go on with when they fail, which only the settings of the time fit to. */
const SLOW: ReadonlySet<StageName | undefined> = new Set<StageName>(['embed', 'prompt', 'train']);

/** config.json: the resolved configuration and the images it is for. */
export interface RunConfig extends Config {
  /** Absolute paths of folders, files or lists. */
  images: string[];
}

/** An open run folder. */
export class Run {
  readonly folder: string;
  readonly config: RunConfig;
  readonly manifest: Manifest;
  readonly hooks: RunHooks;
  /** Gives the folder back to other processes. */
  readonly unlock: () => Promise<void>;
  /** Outcomes of the stages that ran or were skipped since the run was opened. */
  readonly outcomes: Partial<Record<StageName, StageOutcome>> = {};
  /** config.json as it was before this command changed its settings. */
  former: string | undefined;
  #begun: StageName | undefined;
  readonly #open: FileRows[] = [];
  #clip: Promise<Clip> | undefined;
  #modelHash: Promise<string> | undefined;

  constructor(folder: string, config: RunConfig, manifest: Manifest, hooks: RunHooks, unlock: () => Promise<void>) {
    this.folder = folder;
    this.config = config;
    this.manifest = manifest;
    this.hooks = hooks;
    this.unlock = unlock;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** The key of a stage that is done; other stages depend on it. */
  keyOf(stage: StageName): string {
    const done = this.manifest.stages[stage];
    if (!done) throw new S3aError('RUN', `${this.folder}: the stage '${stage}' has not run yet`);
    return done.key;
  }

  /**
   * Runs a stage unless its artefacts are there and were made from the same inputs. The manifest is written after the
   * artefacts, so a stage that was killed runs again.
   * @param inputs everything the result depends on
   * @param files artefacts, relative to the run folder
   */
  async stage(
    name: StageName,
    inputs: unknown,
    files: readonly string[],
    compute: (key: string) => Promise<StageInfo>,
  ): Promise<StageOutcome> {
    this.hooks.signal?.throwIfAborted();
    const key = hashJson({ stage: name, inputs });
    const done = this.manifest.stages[name];
    if (done?.key === key && files.every(file => existsSync(this.path(file)))) {
      this.hooks.onEvent?.({ type: 'stage', stage: name, state: 'skip', seconds: done.seconds, info: done.info });
      return this.#record(name, { seconds: done.seconds, skipped: true, info: done.info });
    }
    this.#begun = name;
    this.hooks.onEvent?.({ type: 'stage', stage: name, state: 'start' });
    const started = performance.now();
    const info = await compute(key);
    const seconds = Math.round(performance.now() - started) / 1000;
    this.manifest.stages[name] = { key, seconds, finished: new Date().toISOString(), info };
    await writeManifest(this.folder, this.manifest);
    this.hooks.onEvent?.({ type: 'stage', stage: name, state: 'end', seconds, info });
    return this.#record(name, { seconds, skipped: false, info });
  }

  progress(stage: StageName, done: number, total: number, detail?: Record<string, number | string>): void {
    this.hooks.signal?.throwIfAborted();
    this.hooks.onEvent?.({ type: 'progress', stage, done, total, detail });
  }

  note(message: string): void {
    this.hooks.onEvent?.({ type: 'note', message });
  }

  warn(message: string): void {
    this.hooks.onEvent?.({ type: 'warning', message });
  }

  /** The rows of an artefact, read where they lie; closed with the run. */
  async rows(file: string): Promise<Rows> {
    const rows = await openRows(this.path(file));
    this.#open.push(rows);
    return rows;
  }

  /** The model, loaded when it is first needed. */
  clip(): Promise<Clip> {
    this.#clip ??= openModel(this.config, this.hooks);
    return this.#clip;
  }

  /** Identifies the model's weights, configuration and preprocessing; large files are hashed once. */
  modelHash(): Promise<string> {
    this.#modelHash ??= this.clip().then(hashOfModel);
    return this.#modelHash;
  }

  /** Takes back the settings of a command that failed before it changed anything: a mistyped one must not stay. */
  async takeBack(): Promise<void> {
    const changed = Object.values(this.outcomes).some(({ skipped }) => !skipped) || SLOW.has(this.#begun);
    if (this.former === undefined || changed || this.hooks.signal?.aborted) return;
    await writeAtomic(this.path('config.json'), this.former);
  }

  async dispose(): Promise<void> {
    const clip = await this.#clip?.catch(() => undefined);
    this.#clip = undefined;
    for (const rows of this.#open.splice(0)) await rows.close();
    await clip?.dispose();
    await this.unlock();
  }

  #record(name: StageName, outcome: StageOutcome): StageOutcome {
    this.outcomes[name] = outcome;
    return outcome;
  }
}

/**
 * Makes a run folder, or opens one to go on with.
 * @throws S3aError CONFIG for what is wrong with the options, RUN_EXISTS when there is a run and `resume` is not set, RUN when the folder holds something else, RUN_IN_USE
 * when another process has it, WRITE when it cannot be made
 */
export async function openRun(
  folder: string,
  options: Record<string, unknown>,
  resume: boolean,
  hooks: RunHooks,
): Promise<Run> {
  if (folder === '') throw new S3aError('CONFIG', 'the run folder has no name', 'Name it with --out.');
  // A model's folder has a config.json, too.
  if (existsSync(join(folder, 'config.json')) && existsSync(join(folder, 'manifest.json'))) {
    // A run that failed before its first stage was done (a mistyped path, say) holds nothing worth keeping.
    const begun = Object.keys((await readManifest(folder)).stages).length > 0;
    if (begun && !resume) {
      throw new S3aError(
        'RUN_EXISTS',
        `${folder} holds a run already`,
        'Go on with it by --resume, or choose another --out.',
      );
    }
    if (begun) return reopenRun(folder, options, hooks);
  } else if (existsSync(folder) && !statSync(folder).isDirectory()) {
    throw new S3aError('RUN', `${folder} is a file, not a folder`, 'Choose another --out.');
  } else if (existsSync(folder) && readdirSync(folder).some(name => !isBeginning(name))) {
    throw new S3aError('RUN', `${folder} is not empty and not a run`, 'Choose another --out.');
  }
  const config = runConfig(options);
  await makeFolder(folder);
  return locked(folder, async unlock => {
    const manifest = newManifest();
    await writeManifest(folder, manifest);
    return saved(new Run(folder, config, manifest, hooks, unlock));
  });
}

/** What a run that was killed before its config.json was written may have left. */
function isBeginning(name: string): boolean {
  return name === 'manifest.json' || name === LOCK_FILE || isTemporary(name);
}

/** Opens a run while no other process has its folder; one that cannot be opened is given back. */
async function locked(folder: string, work: (unlock: () => Promise<void>) => Promise<Run>): Promise<Run> {
  const unlock = await lockRun(folder);
  try {
    return await work(unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

/**
 * Opens a run that is there, with some options changed; stages that depend on them will run again.
 * @throws S3aError RUN when there is none, RUN_IN_USE when another process has it
 */
export async function reopenRun(folder: string, overrides: Record<string, unknown>, hooks: RunHooks): Promise<Run> {
  if (!existsSync(join(folder, 'config.json')) || !existsSync(join(folder, 'manifest.json'))) {
    throw new S3aError('RUN', `there is no run in ${folder}`, 'Make one with s3a fit or s3a discover.');
  }
  return locked(folder, async unlock => {
    await removeTemporaries(folder);
    const path = join(folder, 'config.json');
    const stored = (await readJson(path)) as Record<string, unknown>;
    const former = await readFile(path, 'utf8');
    const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
    const config = runConfig({ ...stored, ...given });
    const run = await saved(new Run(folder, config, await readManifest(folder), hooks, unlock));
    run.former = former;
    if (hashJson(config.images) !== hashJson(stored.images)) {
      run.warn(`${folder} was made of other images; what depends on them is computed again and replaced`);
    }
    return run;
  });
}

/** config.json says which device was asked for, the manifest which one was taken where that is another; stages see the latter. */
async function saved(run: Run): Promise<Run> {
  const { config, manifest } = run;
  await writeAtomic(run.path('config.json'), `${JSON.stringify(config, null, 2)}\n`);
  const device = await takenDevice(config.device, run.hooks);
  const taken = device === config.device ? undefined : device;
  if (manifest.versions.device !== taken) {
    const { device: _, ...versions } = manifest.versions;
    manifest.versions = taken === undefined ? versions : { ...versions, device: taken };
    await writeManifest(run.folder, manifest);
  }
  return taken === undefined ? run : new Run(run.folder, { ...config, device }, manifest, run.hooks, run.unlock);
}

function runConfig({ images, ...options }: Record<string, unknown>): RunConfig {
  const list = typeof images === 'string' ? [images] : images;
  const config = withWholePaths(parseConfig(options));
  if (isBrought(config)) {
    if (list === undefined || (Array.isArray(list) && list.length === 0)) return { ...config, images: [] };
    throw new S3aError('CONFIG', 'images and --embeddings were given', 'Give the one or the other.');
  }
  if (!Array.isArray(list) || list.length === 0 || !list.every(path => typeof path === 'string' && path !== '')) {
    throw new S3aError('CONFIG', 'no images were given', 'Name a folder of images.');
  }
  return { ...config, images: list.map(path => resolve(path)) };
}

/** What lies on this disk by its absolute path, so that the run can be gone on with from any folder. */
function withWholePaths(config: Config): Config {
  const { llm, pretrained } = config;
  const keys = [
    ...(['vocab', 'embeddings', 'prototypes', 'names', 'rows', 'llmReplay'] as const),
    // Otherwise these are names on a server and in open_clip.
    ...(llm === 'gguf' ? (['llmModel'] as const) : []),
    ...(pretrained === undefined ? (['model'] as const) : []),
  ];
  const whole = { ...config };
  for (const key of keys) {
    const path = config[key];
    if (path !== undefined && !Object.hasOwn(BUILT_IN_VOCABULARIES, path) && existsSync(path))
      whole[key] = resolve(path);
  }
  return whole;
}
