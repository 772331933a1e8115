/** Features of another encoder in place of images and a model: embeddings, prototypes and names as files. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';
import type { Config } from '../config/schema.ts';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { hashFile, hashJson } from '../io/hash.ts';
import { readJson } from '../io/json.ts';
import { createNpyWriter, openNpy, readNpyFloat32 } from '../io/npy.ts';
import { loadVocabulary, normalizeName, type Vocabulary } from '../vocab/vocabulary.ts';
import type { Embedded } from './embed.ts';
import type { PromptedCluster } from './prompt.ts';
import type { Named } from './prototypes.ts';
import type { Run } from './store.ts';
import type { Voted } from './vote.ts';

/** Rows that are normalised at once. */
const ROWS = 8192;
const MAX_NAMES = 10_000_000;
const list = z.array(z.string().min(1).max(4096)).min(1).max(MAX_NAMES);

/** Whether a run is about features that were brought along, and so has no images and no model of its own. */
export function isBrought({ embeddings }: Pick<Config, 'embeddings'>): boolean {
  return embeddings !== undefined;
}

/** Throws S3aError CONFIG for a run on features: there is no image tower to train. */
export function checkTrainable({ config }: Run): void {
  if (!isBrought(config)) return;
  throw new S3aError('CONFIG', 'features that were brought along cannot be trained on', 'Use s3a discover with them.');
}

/**
 * The vocabulary of a run: a named one or, for features that were brought along, the names of the prototypes' rows.
 * @throws S3aError VOCABULARY
 */
export async function vocabularyOf({ vocab, names }: Pick<Config, 'vocab' | 'names'>): Promise<Vocabulary> {
  return names === undefined ? loadVocabulary(vocab) : namesOfRows(names);
}

/**
 * The features and prototypes of the files, as unit rows: `embeddings/images.npy|json`, `embeddings/prototypes.npy`,
 * `embeddings/names.json`.
 * @throws S3aError BROUGHT for what does not fit together, with the file and the row; NPY, READ, JSON, VOCABULARY
 */
export async function bring(run: Run, vocabulary: Vocabulary): Promise<{ embedded: Embedded; named: Named }> {
  const { embeddings, prototypes, rows } = run.config;
  if (embeddings === undefined || prototypes === undefined) throw new Error('the run has images of its own');
  const [features, table] = [await shapeOf(embeddings), await shapeOf(prototypes)];
  if (features[1] !== table[1]) {
    throw new S3aError(
      'BROUGHT',
      `${embeddings} has rows of ${features[1]} values and ${prototypes} of ${table[1]}`,
      'Both must come from the two encoders of one model.',
    );
  }
  if (table[0] !== vocabulary.names.length) {
    throw new S3aError(
      'BROUGHT',
      `${prototypes} has ${table[0]} rows, but ${run.config.names} has ${vocabulary.names.length} names`,
    );
  }
  const called = await namesOfFeatures(rows, features[0], embeddings);
  const source = { embeddings: await hashFile(embeddings), rows: hashJson(called) };
  await run.stage('embed', source, ['embeddings/images.npy', 'embeddings/images.json'], async () => {
    await normalised(embeddings, run.path('embeddings/images.npy'), done => run.progress('embed', done, features[0]));
    await writeAtomic(run.path('embeddings/images.json'), JSON.stringify(called));
    return { images: features[0] };
  });
  const named = { prototypes: await hashFile(prototypes), vocabulary: vocabulary.hash };
  await run.stage('prototypes', named, ['embeddings/prototypes.npy', 'embeddings/names.json'], async () => {
    await normalised(prototypes, run.path('embeddings/prototypes.npy'));
    await writeAtomic(run.path('embeddings/names.json'), JSON.stringify(vocabulary.names));
    return { names: table[0] };
  });
  const { data: head } = await readNpyFloat32(run.path('embeddings/prototypes.npy'));
  return {
    embedded: { root: '', files: called, features: await run.rows('embeddings/images.npy'), width: features[1] },
    named: { vocabulary, prototypes: head },
  };
}

/** Names in the order of the prototypes' rows: nothing is merged or left out. */
async function namesOfRows(path: string): Promise<Vocabulary> {
  const names = await readList(path, 'VOCABULARY');
  const seen = new Map<string, number>();
  for (const [row, name] of names.entries()) {
    const before = seen.get(normalizeName(name));
    if (before !== undefined) {
      const where = `rows ${before} and ${row}`;
      throw new S3aError('VOCABULARY', `${path}: ${where} have one name, ${JSON.stringify(name)}`, 'Merge them first.');
    }
    seen.set(normalizeName(name), row);
  }
  const kept = [...seen.keys()];
  const entries = kept.map(name => ({ name, synsets: [{ synonyms: [name] }] }));
  return { id: basename(path), names: kept, entries, merged: 0, hash: hashJson(kept) };
}

/** What the rows of the features are called; their numbers when nothing says it. */
async function namesOfFeatures(path: string | undefined, count: number, embeddings: string): Promise<string[]> {
  if (path === undefined) return Array.from({ length: count }, (_, row) => String(row));
  const called = await readList(path, 'BROUGHT');
  if (called.length === count) return called;
  throw new S3aError('BROUGHT', `${path} has ${called.length} lines, but ${embeddings} has ${count} rows`);
}

/** A .json array of texts; the `names` of a classes.json, too. */
async function readList(path: string, code: string): Promise<string[]> {
  if (!existsSync(path)) throw new S3aError(code, `there is no file ${path}`);
  const parsed = z
    .union([list, z.looseObject({ names: list }).transform(({ names }) => names)])
    .safeParse(await readJson(path));
  if (parsed.success) return parsed.data;
  throw new S3aError(code, `${path} is not a JSON array of texts that are not empty`);
}

async function shapeOf(path: string): Promise<readonly [rows: number, width: number]> {
  const file = await openNpy(path);
  try {
    const { shape, dtype } = file;
    if (shape.length === 2 && shape[0] > 0 && shape[1] > 0 && (dtype === '<f4' || dtype === '<f2')) {
      return [shape[0], shape[1]];
    }
    throw new S3aError(
      'BROUGHT',
      `${path} holds ${dtype} of shape (${shape.join(', ')})`,
      'It must be float32 or float16 of shape (rows, width).',
    );
  } finally {
    await file.close();
  }
}

/** Copies a matrix with its rows at length 1, a block of rows at a time. */
async function normalised(from: string, to: string, onProgress?: (done: number) => void): Promise<void> {
  const file = await openNpy(from);
  try {
    const [count, width] = file.shape;
    const writer = await createNpyWriter(to, '<f4', [count, width]);
    try {
      for (let start = 0; start < count; start += ROWS) {
        const end = Math.min(start + ROWS, count);
        const block = await file.readFloat32(start, end);
        for (let row = 0; row < end - start; row++) {
          const values = block.subarray(row * width, (row + 1) * width);
          const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
          if (!(length > 0 && Number.isFinite(length))) {
            const what = length === 0 ? 'is all zeros' : 'has a value that is no finite number';
            throw new S3aError('BROUGHT', `${from}: row ${start + row} ${what}`, 'Leave it out, also of the names.');
          }
          for (let i = 0; i < width; i++) values[i] /= length;
        }
        await writer.append(block);
        onProgress?.(end);
      }
      await writer.close();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  } finally {
    await file.close();
  }
}

/** `phrases.json` without phrases: there is no text encoder to compare them with, so the votes decide. */
export async function withoutPhrases(run: Run, { counted }: Voted): Promise<PromptedCluster[]> {
  const empty = counted.votes.map(() => ({ candidates: [] }));
  await run.stage('prompt', { vote: run.keyOf('vote') }, ['phrases.json'], async () => {
    await writeAtomic(run.path('phrases.json'), `${JSON.stringify(empty)}\n`);
    return { clusters: 0 };
  });
  return empty;
}
