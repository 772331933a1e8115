/** The Hugging Face cache on disk: `models--org--name` with `blobs`, `refs` and `snapshots`, shared with Python. */
import { randomBytes } from 'node:crypto';
import {
  copyFile,
  link as hardLink,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { S3aError } from '../errors.ts';
import { writeError } from '../io/atomic-write.ts';
import type { HubSettings } from './environment.ts';
import { isCommit, isFilePath, isRepoName, isRevision } from './names.ts';

/** The part of the cache that belongs to one repository. */
export interface RepoCache {
  readonly folder: string;
  snapshot(commit: string): string;
  blob(etag: string): string;
  /** The file of the lock for a blob; beside Python's locks, under a name of its own. */
  lock(etag: string): string;
  /** The commit that a revision stood for when it was last asked; a commit stands for itself. */
  commitOf(revision: string): Promise<string | undefined>;
  /** Remembers what a revision stands for; a cache that cannot be written still serves what is in it, so this never fails. */
  remember(revision: string, commit: string): Promise<void>;
  /** Makes a blob appear as a file of a snapshot. Throws S3aError WRITE. */
  place(etag: string, commit: string, path: string): Promise<void>;
}

const MAX_FILES = 20_000;
const PREFIX = 'models--';

/** The cache of `repo`, which must be a checked `org/name`. */
export function repoCache({ cache, symlinks }: HubSettings, repo: string): RepoCache {
  const name = `${PREFIX}${repo.replace('/', '--')}`;
  const folder = join(cache, name);
  const at = (...parts: string[]): string => join(folder, ...parts);
  const self: RepoCache = {
    folder,
    snapshot: commit => at('snapshots', commit),
    blob: etag => at('blobs', etag),
    lock: etag => join(cache, '.locks', name, `${etag}.s3a.lock`),
    async commitOf(revision) {
      if (isCommit(revision)) return revision;
      const text = await readFile(at('refs', revision), 'utf8').catch(() => undefined);
      const commit = text?.slice(0, 64).trim();
      return commit !== undefined && isCommit(commit) ? commit : undefined;
    },
    async remember(revision, commit) {
      if (revision === commit || (await self.commitOf(revision)) === commit) return;
      const path = at('refs', revision);
      // As huggingface_hub does, so that a reader never sees half a commit.
      const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
      try {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(temporary, commit);
        await rename(temporary, path);
      } catch {
        await rm(temporary, { force: true }).catch(() => {});
      }
    },
    async place(etag, commit, path) {
      const target = join(self.snapshot(commit), ...path.split('/'));
      try {
        await mkdir(dirname(target), { recursive: true });
        await link(self.blob(etag), target, symlinks);
      } catch (error) {
        throw cannotWrite(target, error);
      }
    },
  };
  return self;
}

/** The one line for a cache that cannot be written. */
export function cannotWrite(path: string, error: unknown): S3aError {
  const { message } = writeError(path, error);
  const hint = 'Free some space there or give it the right permissions, or set HF_HOME to another folder.';
  return new S3aError('WRITE', message, hint, { cause: error });
}

/** Symbolic link, as huggingface_hub makes it; where it cannot be made, a hard link; where that cannot be made, a copy. */
async function link(blob: string, target: string, symlinks: boolean): Promise<void> {
  // A new name that is moved into place: another process that makes the same link is never seen without it.
  const temporary = `${target}.${randomBytes(4).toString('hex')}.incomplete`;
  try {
    try {
      if (symlinks) await symlink(relative(dirname(target), blob), temporary);
      else await hardLink(blob, temporary);
    } catch (error) {
      if (['ENOSPC', 'EDQUOT', 'EROFS', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      await hardLink(blob, temporary).catch(() => copyFile(blob, temporary));
    }
    await rename(temporary, target);
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
  }
}

/** Whether something that can be read is at `path`; a link to nothing is not. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * The files of a folder and their sizes in bytes, by path relative to it with `/`; links to nothing and unfinished files are
 * left out. Empty when the folder is not there.
 */
export async function filesIn(folder: string): Promise<Map<string, number>> {
  const files = new Map<string, number>();
  const walk = async (below: string, depth: number): Promise<void> => {
    for (const { name } of await readdir(join(folder, below), { withFileTypes: true }).catch(() => [])) {
      const path = below ? `${below}/${name}` : name;
      if (files.size >= MAX_FILES || !isFilePath(path) || name.endsWith('.incomplete')) continue;
      const found = await stat(join(folder, path)).catch(() => undefined);
      if (found?.isFile()) files.set(path, found.size);
      else if (found?.isDirectory() && depth < 8) await walk(path, depth + 1);
    }
  };
  await walk('', 0);
  return files;
}

/** The names of all repositories of models in a cache, sorted. */
export async function reposIn({ cache }: HubSettings): Promise<string[]> {
  const names = await readdir(cache).catch(() => []);
  return names
    .filter(name => name.startsWith(PREFIX))
    .map(name => name.slice(PREFIX.length).replace('--', '/'))
    .filter(isRepoName)
    .sort();
}

/** The commits that a repository has snapshots of, each with the revisions that stand for it. */
export async function commitsIn(cache: RepoCache): Promise<Map<string, string[]>> {
  const commits = new Map<string, string[]>();
  for (const name of (await readdir(join(cache.folder, 'snapshots')).catch(() => [])).sort()) {
    if (isCommit(name)) commits.set(name, []);
  }
  for (const revision of [...(await filesIn(join(cache.folder, 'refs'))).keys()].sort()) {
    // What a killed writer of a ref left.
    if (/\.[0-9a-f]{8}\.tmp$/.test(revision)) continue;
    const commit = isRevision(revision) ? await cache.commitOf(revision) : undefined;
    if (commit !== undefined) commits.get(commit)?.push(revision);
  }
  return commits;
}

/** Marks the cache as one for backup programs, as huggingface_hub does; never fails. */
export async function tagCache({ cache }: HubSettings): Promise<void> {
  const text = `Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#	https://bford.info/cachedir/
`;
  await writeFile(join(cache, 'CACHEDIR.TAG'), text, { flag: 'wx' }).catch(() => {});
}
