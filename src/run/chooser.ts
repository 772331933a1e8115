/** A model with the names it chooses from: of a run, of a model folder that carries them, or of a vocabulary. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clip } from '../clip/clip.ts';
import { TEMPLATES } from '../clip/prototypes.ts';
import { type ConfigInput, parseConfig } from '../config/schema.ts';
import { takeRows } from '../discover/row-pass.ts';
import { S3aError } from '../errors.ts';
import { readJson } from '../io/json.ts';
import { readNpyFloat32 } from '../io/npy.ts';
import { loadVocabulary } from '../vocab/vocabulary.ts';
import { takenDevice } from './device.ts';
import type { RunHooks } from './events.ts';
import { readManifest } from './manifest.ts';
import { refuseMissingRun } from './missing-run.ts';
import { hashOfModel, openModel } from './model.ts';
import { sharedPrototypes } from './prototypes.ts';

export interface Chooser {
  readonly clip: Clip;
  readonly names: readonly string[];
  /** [names, D] unit rows. */
  readonly prototypes: Float32Array;
}

export interface ChooserOptions extends Pick<ConfigInput, 'vocab' | 'templates' | 'device' | 'threads' | 'embedBatch'> {
  /** Choose from all names of a run's vocabulary instead of those that it found. */
  wholeVocabulary?: boolean;
}

const classesSchema = z.object({ names: z.array(z.string()).min(1) });

/**
 * Opens a run (its tuned model where there is one, else the one it started from) or a model with its names. The caller
 * disposes of the model.
 * @param place a run folder, or a model as `loadClip` takes it
 * @throws S3aError PREDICT when there are no names to choose from, and whatever is wrong with the model or the vocabulary
 */
export async function openChooser(place: string, options: ChooserOptions, hooks: RunHooks = {}): Promise<Chooser> {
  refuseMissingRun(place);
  const run = await openRunModel(place, hooks);
  const { threads, embedBatch } = options;
  const device = options.device && (await takenDevice(options.device, hooks));
  const clip = await openModel({ ...(run ?? { model: place }), device, threads, embedBatch }, hooks);
  try {
    const { vocab, templates = run?.templates ?? [...TEMPLATES] } = options;
    if (vocab === undefined) return { clip, ...(await storedNames(place, run !== undefined, options, clip)) };
    const { names } = await loadVocabulary(vocab);
    const { rows } = await sharedPrototypes(clip, names, {
      ...{ templates, device, threads, embedBatch },
      model: await hashOfModel(clip),
      onProgress(done, total) {
        hooks.signal?.throwIfAborted();
        hooks.onEvent?.({ type: 'progress', stage: 'prototypes', done, total });
      },
      warn: message => hooks.onEvent?.({ type: 'warning', message }),
    });
    return { clip, names, prototypes: rows };
  } catch (error) {
    await clip.dispose();
    throw error;
  }
}

/** The model that a run folder stands for; undefined when the folder is no run. */
async function openRunModel(
  folder: string,
  hooks: RunHooks,
): Promise<{ model: string; pretrained?: string; templates: string[] } | undefined> {
  if (!existsSync(join(folder, 'manifest.json')) || !existsSync(join(folder, 'config.json'))) return undefined;
  const path = join(folder, 'config.json');
  const { images: _, ...settings } = (await readJson(path)) as Record<string, unknown>;
  const { model, pretrained, templates, embeddings } = parseConfig(settings, path);
  if (embeddings !== undefined) {
    throw new S3aError('PREDICT', `the run in ${folder} is about features of another encoder and has no model`);
  }
  const tuned = join(folder, 'model');
  if (!existsSync(join(tuned, 'config.json'))) return { model, pretrained, templates };
  const { train, realign } = (await readManifest(folder)).stages;
  if (train && realign && train.finished < realign.finished) {
    const message = `the names of ${folder} were found anew after its model was trained; s3a train ${folder} trains it on them`;
    hooks.onEvent?.({ type: 'warning', message });
  }
  return { model: tuned, templates };
}

async function storedNames(
  place: string,
  isRun: boolean,
  { wholeVocabulary = false }: ChooserOptions,
  clip: Clip,
): Promise<{ names: string[]; prototypes: Float32Array }> {
  const classes = join(place, 'classes.json');
  const table = join(place, isRun ? 'embeddings/prototypes.npy' : 'prototypes.npy');
  const all = isRun ? join(place, 'embeddings/names.json') : classes;
  for (const needed of [table, all, ...(wholeVocabulary ? [] : [classes])]) {
    if (existsSync(needed)) continue;
    const hint = isRun
      ? 'Finish the run with s3a fit --resume, or give names with --vocab.'
      : 'Give names with --vocab, such as --vocab in1k or --vocab names.txt.';
    throw new S3aError('PREDICT', `${place} has no names to choose from: ${needed} is missing`, hint);
  }
  const { shape, data } = await readNpyFloat32(table);
  const names = isRun ? z.array(z.string()).parse(await readJson(all)) : await readClasses(all);
  const width = clip.config.projection_dim;
  if (shape.length !== 2 || shape[0] !== names.length || shape[1] !== width) {
    throw new S3aError(
      'PREDICT',
      `${table} has shape (${shape.join(', ')}), but there are ${names.length} names and the model's width is ${width}`,
      'The files are of different models; give names with --vocab.',
    );
  }
  if (wholeVocabulary || !isRun) return { names, prototypes: data };
  const found = await readClasses(classes);
  const rows = found.map(name => names.indexOf(name));
  const lost = rows.indexOf(-1);
  if (lost >= 0) throw new S3aError('PREDICT', `${classes}: '${found[lost]}' is not in the run's vocabulary`);
  return { names: found, prototypes: takeRows(data, width, Int32Array.from(rows)) };
}

async function readClasses(path: string): Promise<string[]> {
  const parsed = classesSchema.safeParse(await readJson(path));
  if (parsed.success) return parsed.data.names;
  throw new S3aError('PREDICT', `${path} is not a list of classes: ${parsed.error.issues[0].message}`);
}
