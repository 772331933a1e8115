/** Writes the model of a run, or any model, as a folder that others load: a Hugging Face repository. */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { clipParameters } from '../clip/checkpoint/checkpoint.ts';
import { PRECISIONS, type Precision } from '../clip/export/onnx.ts';
import { planRepo, type RepoOptions, writeRepo } from '../clip/export/repo.ts';
import { parseConfig } from '../config/schema.ts';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { hashFile } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { writeNpy } from '../io/npy.ts';
import { type Chooser, openChooser } from './chooser.ts';
import type { RunHooks } from './events.ts';
import { checkOut, checkSpace, type ExportedFile, replaceFolder } from './export-folder.ts';
import { readManifest } from './manifest.ts';
import { refuseMissingRun } from './missing-run.ts';
import { openModel } from './model.ts';
import { lastMetrics, licenseOf, modelCard, type Recipe } from './model-card.ts';
import { readStudent } from './student.ts';
import { usageChapter } from './usage.ts';

export interface ExportOptions extends Pick<RepoOptions, 'dtype' | 'openClip'> {
  /** The folder to make; default `exports/` and the name of the run or model. */
  out?: string;
  /** open_clip's tag of pre-trained weights, for a name of open_clip's. */
  pretrained?: string;
  /** ONNX files; default all precisions. */
  onnx?: readonly Precision[];
  /** Which network of a trained run; default the teacher. */
  role?: 'teacher' | 'student';
  /** Licence in the model card; default what the card of the model that was started from states. */
  license?: string;
  /** Replace a folder that is there. */
  overwrite?: boolean;
}

export interface ExportReport {
  folder: string;
  format: 'transformers';
  role: 'teacher' | 'student' | null;
  /** Names found by the run; 0 for a model without. */
  classes: number;
  files: ExportedFile[];
  /** What whoever uses the folder should know. */
  notes: string[];
}

const classesSchema = z.object({ names: z.array(z.string()), counts: z.array(z.number()).optional() });

/**
 * Writes a folder for transformers, transformers.js and, if wanted, open_clip. It appears whole or not at all.
 * @param place a run folder, or what `--model` takes
 * @throws S3aError EXPORT when it cannot be made as asked or is there already, WRITE, and whatever is wrong with the model
 * @example
 * const { folder } = await exportModel('runs/photos', { out: 'photos-clip' });
 */
export async function exportModel(
  place: string,
  options: ExportOptions = {},
  hooks: RunHooks = {},
): Promise<ExportReport> {
  const { out = defaultOut(place), overwrite = false, onnx = PRECISIONS, dtype, openClip, license } = options;
  checkLicense(license);
  refuseMissingRun(place);
  await checkOut(out, overwrite);
  const isRun = existsSync(join(place, 'manifest.json')) && existsSync(join(place, 'config.json'));
  const recipe = isRun ? await readRecipe(place) : undefined;
  const role = roleOf(place, options.role, recipe);
  const { clip, names, prototypes } = await openNames(place, isRun, options.pretrained, hooks);
  try {
    const { checkpoint } = clip;
    const { config } = checkpoint;
    const inPython = config.vision_config.model_type !== 's3a_resnet';
    // Those of the checkpoint have been told when it was opened.
    for (const message of notesOf(inPython)) hooks.onEvent?.({ type: 'warning', message });
    const notes = [...checkpoint.notes, ...notesOf(inPython)];
    const settings: RepoOptions = { dtype, onnx, openClip, onProgress: reporter(hooks) };
    await checkSpace(out, planRepo(config, settings));
    const student = role === 'student' ? await readStudent(place, recipe!.config, checkpoint, hooks) : {};
    const weights = { ...(await checkpoint.readWeights(clipParameters(config).map(({ name }) => name))), ...student };
    const files = await replaceFolder(out, overwrite, async folder => {
      await writeRepo(folder, { ...checkpoint, weights }, settings);
      const counts = await countsOf(place);
      if (names.length > 0) await writeNames(folder, names, prototypes, counts, recipe, clip.logitScale);
      const stored = ['model.safetensors', ...(onnx.includes('float32') ? ['onnx/model.onnx'] : [])];
      const card = modelCard({
        base: recipe?.config.model ?? checkpoint.origin?.repo ?? place,
        license: license ?? (await licenseOf(recipe?.config.model ?? place)),
        role: role ?? undefined,
        classes: names.map((name, i) => ({ name, count: counts?.[i] })),
        recipe,
        inPython,
        usage: usageChapter({ names, onnx, openClip, inPython, template: recipe?.config.templates[0] }),
        hashes: await Promise.all(stored.map(async name => [name, await hashFile(join(folder, name))] as const)),
      });
      await writeAtomic(join(folder, 'README.md'), card);
    });
    return { folder: out, format: 'transformers', role, classes: names.length, files, notes };
  } finally {
    await clip.dispose();
  }
}

/** `exports/` and the name of the run, or of the model. */
export function defaultOut(place: string): string {
  return join('exports', basename(resolve(place)));
}

function checkLicense(license: string | undefined): void {
  if (license === undefined || /^[a-z0-9][a-z0-9.-]{0,59}$/.test(license)) return;
  throw new S3aError(
    'EXPORT',
    `${JSON.stringify(license)} is no name of a licence`,
    'The hub spells them in lower case, such as mit, apache-2.0 or cc-by-4.0.',
  );
}

async function readRecipe(folder: string): Promise<Recipe> {
  const path = join(folder, 'config.json');
  const { images: _, ...settings } = (await readJson(path)) as Record<string, unknown>;
  return {
    config: parseConfig(settings, path),
    manifest: await readManifest(folder),
    metrics: await lastMetrics(folder),
  };
}

function roleOf(
  place: string,
  wanted: 'teacher' | 'student' | undefined,
  recipe: Recipe | undefined,
): 'teacher' | 'student' | null {
  const trained = recipe !== undefined && existsSync(join(place, 'model', 'config.json'));
  if (trained) return wanted ?? 'teacher';
  if (wanted === undefined) return null;
  throw new S3aError('EXPORT', `${place} has no ${wanted}: nothing was trained there`, 'Leave --role out.');
}

/** The model with the names it chooses from; without names where there are none. */
async function openNames(
  place: string,
  isRun: boolean,
  pretrained: string | undefined,
  hooks: RunHooks,
): Promise<Chooser> {
  const has = (name: string): boolean => existsSync(join(place, name));
  if (isRun || (has('classes.json') && has('prototypes.npy'))) return openChooser(place, {}, hooks);
  return { clip: await openModel({ model: place, pretrained }, hooks), names: [], prototypes: new Float32Array(0) };
}

async function countsOf(place: string): Promise<number[] | undefined> {
  const path = join(place, 'classes.json');
  if (!existsSync(path)) return undefined;
  return classesSchema.parse(await readJson(path)).counts;
}

/** The names beside the model: classifying by them is one matrix product. */
async function writeNames(
  folder: string,
  names: readonly string[],
  prototypes: Float32Array,
  counts: readonly number[] | undefined,
  recipe: Recipe | undefined,
  logitScale: number,
): Promise<void> {
  const classes = { names, counts, templates: recipe?.config.templates, logitScale };
  await writeAtomic(join(folder, 'classes.json'), `${JSON.stringify(classes, null, 1)}\n`);
  await writeNpy(join(folder, 'prototypes.npy'), '<f4', [names.length, prototypes.length / names.length], prototypes);
}

function notesOf(inPython: boolean): string[] {
  return inPython
    ? []
    : [
        'transformers for Python has no s3a_resnet image tower and cannot load this model; its ONNX files run in transformers.js',
      ];
}

/** Progress in bytes of ONNX weights; it is also where an export stops after Ctrl-C. */
function reporter({ onEvent, signal }: RunHooks): (done: number, total: number) => void {
  return (done, total) => {
    signal?.throwIfAborted();
    onEvent?.({ type: 'progress', stage: 'export', done, total, unit: 'bytes' });
  };
}
