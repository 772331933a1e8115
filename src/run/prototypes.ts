/** The prototypes stage: one text prototype for every name of the vocabulary. */
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Clip } from '../clip/clip.ts';
import { openPrototypeCache } from '../clip/prototype-cache.ts';
import { prototypes as textPrototypes } from '../clip/prototypes.ts';
import type { ConfigInput } from '../config/schema.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { cacheFolder } from '../io/cache-folder.ts';
import { hashJson } from '../io/hash.ts';
import { readNpyFloat32, writeNpy } from '../io/npy.ts';
import { BUILT_IN_VOCABULARIES, type Vocabulary } from '../vocab/vocabulary.ts';
import { versions } from './manifest.ts';
import type { Run } from './store.ts';

/** A vocabulary with its prototypes. */
export interface Named {
  vocabulary: Vocabulary;
  /** [V, D] unit rows. */
  prototypes: Float32Array;
}

/** `embeddings/prototypes.npy` and `embeddings/names.json` (METHOD §1). */
export async function prototypes(run: Run, vocabulary: Vocabulary): Promise<Named> {
  const { vocab, templates } = run.config;
  // Of the vocabularies in the package they are known, and no reader can do anything about them.
  if (vocabulary.merged > 0 && !Object.hasOwn(BUILT_IN_VOCABULARIES, vocab))
    run.warn(`${vocabulary.merged} repeated names of ${vocab} were merged`);
  const inputs = { vocabulary: vocabulary.hash, templates, model: await run.modelHash() };
  const artefacts = ['embeddings/prototypes.npy', 'embeddings/names.json'];
  await run.stage('prototypes', inputs, artefacts, async () => {
    const clip = await run.clip();
    const { names } = vocabulary;
    const { rows, found } = await sharedPrototypes(clip, names, {
      ...run.config,
      model: inputs.model,
      onProgress: (done, total) => run.progress('prototypes', done, total),
      warn: message => run.warn(message),
    });
    await writeNpy(run.path('embeddings/prototypes.npy'), '<f4', [names.length, clip.config.projection_dim], rows);
    await writeAtomic(run.path('embeddings/names.json'), JSON.stringify(names));
    return { names: names.length, ...(found > 0 && { cached: found }) };
  });
  const { data } = await readNpyFloat32(run.path('embeddings/prototypes.npy'));
  return { vocabulary, prototypes: data };
}

export interface SharedPrototypesOptions extends Pick<ConfigInput, 'device' | 'threads' | 'embedBatch'> {
  templates: readonly string[];
  /** Identifies the model's files. */
  model: string;
  onProgress: (done: number, total: number) => void;
  warn: (message: string) => void;
}

/**
 * Prototypes of names, kept in the user's cache folder: another run of the same model, names and templates reads them.
 * @returns [V, D] unit rows, and how many of them were found
 * @throws S3aError TEMPLATE, and what the model throws
 */
export async function sharedPrototypes(
  clip: Clip,
  names: readonly string[],
  { templates, model, device, threads, embedBatch, onProgress, warn }: SharedPrototypesOptions,
): Promise<{ rows: Float32Array; found: number }> {
  const { s3a, 'onnxruntime-node': runtime, platform } = versions();
  const [{ model: processor }, { length: cores }] = [cpus()[0] ?? { model: 'unknown' }, cpus()];
  // Whatever may change a bit of the result, so that a run gives the same bytes with and without the cache.
  const key = hashJson({
    names: hashJson(names),
    templates,
    model,
    arithmetic: { s3a, runtime, platform, processor, cores, device, threads, embedBatch },
  });
  const cache = openPrototypeCache({
    folder: join(cacheFolder(), 'prototypes'),
    key,
    width: clip.config.projection_dim,
    warn,
  });
  const rows = await textPrototypes(names, templates, clip.embedTexts, onProgress, cache);
  await cache.trim();
  return { rows, found: cache.found };
}
