/** Some files of a repository that is no CLIP, such as a sentence model's, become a folder of the cache. */
import { S3aError } from '../errors.ts';
import { cannotWrite, filesIn, repoCache, tagCache } from './cache.ts';
import { byHand, explain, isOfTheDisk, leavesCache } from './failures.ts';
import { fetchWeights, type Opened, type Session, subject } from './fetch.ts';
import { isCommit, type RepoName } from './names.ts';
import { refuseLarge, revisionOf } from './revision.ts';

/** What is wanted of a repository. */
export interface WantedFiles {
  /** The files that are needed, among the names of those that there are. */
  files(names: ReadonlyMap<string, unknown>): readonly string[];
  /** The first needed file that is not among the names. */
  lacks(names: ReadonlyMap<string, unknown>): string | undefined;
  /** What to do about a repository that lacks `file`; one sentence. */
  hint(file: string): string;
  /** For messages: what to place by hand, and the option that takes the folder. */
  readonly byHand: { readonly needed: string; readonly flag: string };
}

/**
 * Makes sure that the wanted files of a model are in the cache.
 *
 * Without a network, or when the hub fails, a complete copy of the revision in the cache is used.
 *
 * Throws S3aError MODEL, HUB_UNREACHABLE, HUB_AUTH, HUB_RATE, HUB_ANSWER, HUB_OFFLINE or WRITE, and the signal's reason.
 */
export async function obtainFiles(
  session: Session,
  name: RepoName,
  wanted: WantedFiles,
): Promise<{ folder: string; commit: string }> {
  const { settings, signal } = session;
  const cache = repoCache(settings, name.repo);
  const opened: Opened = { session, name, wanted: { byHand: wanted.byHand }, cache };
  const known = await cache.commitOf(name.revision);
  const here = known === undefined ? undefined : { folder: cache.snapshot(known), commit: known };
  const lost = here && wanted.lacks(await filesIn(here.folder));
  const copy = lost === undefined ? here : undefined;
  if (copy && isCommit(name.revision)) return copy;
  if (settings.offline) {
    if (copy) return copy;
    const what =
      lost === undefined
        ? `${name.repo}@${name.revision} is not in ${settings.cache}`
        : `the cached copy of ${name.repo} lacks ${lost}`;
    const hint = `Unset it to download. ${byHand(subject(opened))}`;
    throw new S3aError('HUB_OFFLINE', `${what}, and HF_HUB_OFFLINE is set`, hint);
  }
  try {
    return await online(opened, wanted, copy !== undefined);
  } catch (error) {
    signal?.throwIfAborted();
    if (isOfTheDisk(error)) throw cannotWrite(cache.folder, error);
    const failure = explain(error, subject(opened));
    if (!leavesCache(error) || !copy) throw failure;
    session.onWarning?.(`${failure.message}; using the copy of ${name.repo} in the cache`);
    return copy;
  }
}

/** @param spare whether there is a complete copy in the cache, so that one question is enough */
async function online(
  opened: Opened,
  wanted: WantedFiles,
  spare: boolean,
): Promise<{ folder: string; commit: string }> {
  const { session, cache, name } = opened;
  const { commit, files } = await revisionOf(opened, spare);
  const lost = wanted.lacks(files);
  if (lost !== undefined) throw new S3aError('MODEL', `${name.repo} has no ${lost}`, wanted.hint(lost));
  const names = wanted.files(files);
  refuseLarge(
    opened,
    files,
    names.filter(file => file.endsWith('.json')),
  );
  // After a kill the part that is here must be found; a complete older copy stays known until the new one is whole.
  if (!spare) await cache.remember(name.revision, commit);
  await fetchWeights(opened, commit, files, names);
  await tagCache(session.settings);
  await cache.remember(name.revision, commit);
  return { folder: cache.snapshot(commit), commit };
}
