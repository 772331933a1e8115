/** What the cache holds: every model, its commits, sizes, and whether they are complete. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { commitsIn, filesIn, repoCache, reposIn } from './cache.ts';
import type { Layout } from './choose.ts';
import { type Environment, hubSettings } from './environment.ts';
import { lookAt } from './look.ts';

/** One commit of a repository in the cache. */
export interface CachedModel {
  /** `org/name`. */
  readonly repo: string;
  readonly commit: string;
  /** The branches and tags that stood for the commit when they were last asked for. */
  readonly revisions: readonly string[];
  /** Bytes of the files of this commit. */
  readonly bytes: number;
  /** Bytes of downloads of this repository that were cut off. */
  readonly partialBytes: number;
  readonly layout?: Layout;
  readonly format?: 'safetensors' | 'pytorch' | 'onnx';
  /** Whether its configs are those of CLIP or SigLIP; undefined when there are none. */
  readonly isClip?: boolean;
  readonly complete: boolean;
  /** What is missing; a file's name where it is known. */
  readonly missing?: string;
  readonly folder: string;
}

/** All models in the cache, of whatever kind, by name. Throws S3aError CONFIG for settings that cannot be meant. */
export async function listCached(env?: Environment): Promise<{ cache: string; models: CachedModel[] }> {
  const settings = hubSettings(env);
  const models: CachedModel[] = [];
  for (const repo of await reposIn(settings)) {
    const cache = repoCache(settings, repo);
    const partialBytes = await partialIn(join(cache.folder, 'blobs'));
    for (const [commit, revisions] of await commitsIn(cache)) {
      const folder = cache.snapshot(commit);
      const { weights, isClip, missing } = await lookAt(folder, {}, {});
      const bytes = [...(await filesIn(folder)).values()].reduce((a, b) => a + b, 0);
      const common = { repo, commit, revisions, bytes, partialBytes, folder, isClip };
      models.push(
        weights
          ? { ...common, layout: weights.layout, format: weights.format, complete: true }
          : { ...common, complete: false, missing },
      );
    }
  }
  return { cache: settings.cache, models };
}

async function partialIn(blobs: string): Promise<number> {
  const names = (await readdir(blobs).catch(() => [])).filter(name => name.endsWith('.incomplete'));
  const sizes = await Promise.all(
    names.map(name =>
      stat(join(blobs, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((a, b) => a + b, 0);
}
