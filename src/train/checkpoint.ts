/** Training on disk: all that is needed to go on bit by bit, in a pair of files that is complete once its second exists. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Shape, sameShape } from '../engine/shape.ts';
import { messageOf, S3aError } from '../errors.ts';
import { removeTemporaries, writeAtomic } from '../io/atomic-write.ts';
import { hashFile } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../io/safetensors.ts';

const factsSchema = z.object({
  /** Hash of the inputs and settings; a training with another key does not go on from here. */
  key: z.string(),
  /** Steps done. */
  step: z.int().min(0),
  /** The epoch that comes next, or that goes on when `stepInEpoch` is not 0. */
  epoch: z.int().min(0),
  /** Steps of that epoch that are done. */
  stepInEpoch: z.int().min(0),
  /** Length of metrics.jsonl at this point. */
  metricsBytes: z.int().min(0),
});
const fileSchema = factsSchema.extend({ format: z.literal(1), sha256: z.string() });

export interface TrainingState extends z.output<typeof factsSchema> {
  /** [N] structural labels of the epoch. */
  structural: Int32Array;
  /** Student, teacher and moments, by state name. */
  weights: Record<string, Float32Array>;
}

/** A training to save: its weights are there, or are fetched one at a time while they are written. */
export interface TrainingToSave extends Omit<TrainingState, 'weights'> {
  weights: TrainingState['weights'] | ((name: string) => Promise<Float32Array>);
}

const baseOf = (step: number): string => `step-${String(step).padStart(8, '0')}`;
const STRUCTURAL = 'structural';

/**
 * Saves a training into `folder`, and removes older ones when it is complete.
 * @param shapes of all weights, by state name
 * @throws S3aError WRITE; what was saved before is then still there
 */
export async function saveTraining(
  folder: string,
  { structural, weights, ...facts }: TrainingToSave,
  shapes: Readonly<Record<string, Shape>>,
): Promise<void> {
  const base = baseOf(facts.step);
  const tensors: Record<string, TensorToWrite> = {
    [STRUCTURAL]: { dtype: 'I32', shape: [structural.length], data: structural },
  };
  for (const [name, shape] of Object.entries(shapes)) {
    tensors[name] = { dtype: 'F32', shape, data: typeof weights === 'function' ? () => weights(name) : weights[name] };
  }
  const path = join(folder, `${base}.safetensors`);
  const hash = createHash('sha256');
  await writeSafetensors(path, tensors, undefined, hash);
  const file: z.output<typeof fileSchema> = { format: 1, ...facts, sha256: hash.digest('hex') };
  await writeAtomic(join(folder, `${base}.json`), `${JSON.stringify(file, null, 2)}\n`);
  const older = (await readdir(folder)).filter(name => /^step-\d+\./.test(name) && !name.startsWith(`${base}.`));
  // The descriptions first: a pair is never left with the description alone.
  for (const name of older.sort()) await rm(join(folder, name), { force: true });
}

export interface LoadedTraining {
  /** Undefined when nothing was saved yet. */
  readonly state: TrainingState | undefined;
  /** One sentence for each damaged checkpoint that was passed over. */
  readonly damaged: readonly string[];
}

/**
 * The newest whole training in `folder`, and what was wrong with newer ones.
 * @param shapes of all weights, by state name
 * @param key what the training is of; default any
 * @throws S3aError CHECKPOINT for the training of another key, and when there are checkpoints but none is whole
 */
export async function loadTraining(
  folder: string,
  shapes: Readonly<Record<string, Shape>>,
  key?: string,
): Promise<LoadedTraining> {
  if (!existsSync(folder)) return { state: undefined, damaged: [] };
  await removeTemporaries(folder);
  const names = (await readdir(folder)).filter(name => /^step-\d+\.json$/.test(name));
  const damaged: string[] = [];
  for (const name of names.sort().reverse()) {
    let state: TrainingState | undefined;
    try {
      state = await readTraining(folder, name.slice(0, -'.json'.length), shapes, key);
    } catch (error) {
      damaged.push(`the checkpoint ${join(folder, name)} is damaged (${messageOf(error)})`);
      continue;
    }
    if (state) return { state, damaged };
    throw new S3aError(
      'CHECKPOINT',
      `${folder} belongs to a training with other images, settings or labels`,
      'Train into another folder, or remove this one.',
    );
  }
  if (damaged.length === 0) return { state: undefined, damaged };
  throw new S3aError('CHECKPOINT', damaged[0], `Remove the folder ${folder} to train from the start.`);
}

/**
 * The training to go on with in `folder`; undefined where none was begun.
 * @param key what the training is of; another one is not gone on with
 * @param warn told of each damaged checkpoint that was passed over
 * @throws S3aError CHECKPOINT as `loadTraining`
 */
export async function resumeTraining(
  folder: string,
  shapes: Readonly<Record<string, Shape>>,
  key: string,
  warn: (message: string) => void,
): Promise<TrainingState | undefined> {
  const { state, damaged } = await loadTraining(folder, shapes, key);
  for (const message of damaged) warn(`${message}; an older one is whole`);
  return state;
}

/**
 * States of the newest training in `folder`, without a look at the rest: of one that this process wrote or loaded.
 * @throws S3aError CHECKPOINT when there is none
 */
export async function readStates(folder: string, names: readonly string[]): Promise<Record<string, Float32Array>> {
  const saved = existsSync(folder) ? (await readdir(folder)).filter(name => /^step-\d+\.json$/.test(name)) : [];
  const last = saved.sort().at(-1);
  if (last === undefined) throw new S3aError('CHECKPOINT', `${folder} holds no checkpoint`, 'Train first.');
  const file = await openSafetensors(join(folder, last.replace(/json$/, 'safetensors')));
  try {
    const states: Record<string, Float32Array> = {};
    for (const name of names) states[name] = await file.readFloat32(name);
    return states;
  } finally {
    await file.close();
  }
}

/** A checkpoint, checked; undefined for one of another key, whose states may have other shapes without being damaged. */
async function readTraining(
  folder: string,
  base: string,
  shapes: Readonly<Record<string, Shape>>,
  key: string | undefined,
): Promise<TrainingState | undefined> {
  const parsed = fileSchema.safeParse(await readJson(join(folder, `${base}.json`)));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new S3aError('CHECKPOINT', `its description: ${issue.path.join('.') || 'the file'}: ${issue.message}`);
  }
  const { format: _, sha256, ...facts } = parsed.data;
  if (key !== undefined && facts.key !== key) return undefined;
  const path = join(folder, `${base}.safetensors`);
  const file = await openSafetensors(path);
  try {
    if ((await hashFile(path)) !== sha256) {
      throw new S3aError('CHECKPOINT', `${base}.safetensors is not the file that was written`);
    }
    const weights: Record<string, Float32Array> = {};
    for (const [name, shape] of Object.entries(shapes)) {
      if (!sameShape(file.info(name).shape, shape)) {
        throw new S3aError('CHECKPOINT', `${name} has the shape [${file.info(name).shape}], not [${shape}]`);
      }
      weights[name] = await file.readFloat32(name);
    }
    return { ...facts, structural: (await file.read(STRUCTURAL)) as Int32Array, weights };
  } finally {
    await file.close();
  }
}
