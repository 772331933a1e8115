/** Files of a repository that are missing in a snapshot are downloaded, a few at a time. */
import { statfs } from 'node:fs/promises';
import { S3aError } from '../errors.ts';
import type { HubApi, ListedFile } from './api.ts';
import { filesIn, type RepoCache } from './cache.ts';
import { bytesPresent, type Downloader, downloadBlob } from './download.ts';
import { explain, leavesCache, neededFiles, type Subject } from './failures.ts';
import type { Wanted } from './look.ts';
import type { RepoName } from './names.ts';
import { patiently } from './retry.ts';

/** How far a download is, in bytes; the first report comes before the first byte. */
export interface DownloadProgress {
  /** `org/name`. */
  readonly repo: string;
  /** The file that the report is about. */
  readonly file: string;
  /** Bytes of the files to download that are here, those of an earlier part included. */
  readonly done: number;
  readonly total: number;
}

/** What a repository is opened with. */
export interface Session extends Downloader {
  readonly api: HubApi;
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Told in one sentence when a cached copy is used because the hub does not answer. */
  readonly onWarning?: (message: string) => void;
}

/** A repository that is worked on. */
export interface Opened {
  readonly session: Session;
  readonly name: RepoName;
  readonly wanted: Wanted;
  readonly cache: RepoCache;
}

/** The files of a commit by path. */
export type Files = ReadonlyMap<string, ListedFile>;

const AT_ONCE = 4;

/** The files of a commit by path. Throws what `HubApi.filesOf` throws. */
export async function listFiles({ session: { api, signal }, name: { repo } }: Opened, commit: string): Promise<Files> {
  return new Map((await api.filesOf(repo, commit, signal)).map(file => [file.path, file]));
}

/** What a failure is about. */
export function subject({ session: { settings }, name, wanted }: Opened): Subject {
  const { endpoint, token } = settings;
  const needed = neededFiles(wanted.layout);
  return { ...name, endpoint, hasToken: token !== undefined, needed, ...wanted.byHand };
}

/**
 * Makes sure that the weights are in the snapshot of a commit, and reports how far that is.
 *
 * Throws S3aError WRITE when the disk has too little room, and what `fetchFiles` throws.
 */
export async function fetchWeights(
  opened: Opened,
  commit: string,
  files: Files,
  wanted: readonly string[],
): Promise<void> {
  const { session, cache, name } = opened;
  const missing = await missingIn(cache.snapshot(commit), files, wanted);
  if (missing.length === 0) return;
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  const present = new Map<string, number>();
  // The name of a blob is the content's hash on the real hub; on a mirror the first report may be too small.
  for (const { path, size, sha256, gitSha1 } of missing) {
    present.set(path, await bytesPresent(cache, { etag: sha256 ?? gitSha1 ?? 'unknown', size }));
  }
  const done = (): number => [...present.values()].reduce((a, b) => a + b, 0);
  await checkSpace(session.settings.cache, total - done(), name.repo);
  session.onProgress?.({ repo: name.repo, file: missing[0].path, done: done(), total });
  await fetchFiles(opened, commit, files, wanted, (file, bytes) => {
    present.set(file, bytes);
    session.onProgress?.({ repo: name.repo, file, done: done(), total });
  });
}

/**
 * Makes sure that listed files are in the snapshot of a commit; the first failure stops the others.
 *
 * Throws what `HubApi.inspect`, `downloadBlob` and `RepoCache.place` throw; what is about one file is explained.
 * @param onBytes told how many bytes of a file are here
 */
export async function fetchFiles(
  opened: Opened,
  commit: string,
  files: Files,
  wanted: readonly string[],
  onBytes: (file: string, bytes: number) => void = () => {},
): Promise<void> {
  const { session, cache, name } = opened;
  const stop = new AbortController();
  const signal = session.signal ? AbortSignal.any([session.signal, stop.signal]) : stop.signal;
  const downloader = { ...session, signal };
  const fetchOne = async (file: ListedFile): Promise<void> => {
    const { path } = file;
    try {
      const remote = await patiently(session.patience, signal, () =>
        session.api.inspect(name.repo, commit, file, signal),
      );
      await downloadBlob(downloader, cache, remote, bytes => onBytes(path, bytes));
      await cache.place(remote.etag, commit, path);
    } catch (error) {
      session.signal?.throwIfAborted();
      throw leavesCache(error) ? error : explain(error, { ...subject(opened), file: path });
    }
  };
  const queue = await missingIn(cache.snapshot(commit), files, wanted);
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file; file = queue.shift()) await fetchOne(file);
  };
  const workers = Array.from({ length: AT_ONCE }, work);
  try {
    await Promise.all(workers);
  } finally {
    queue.length = 0;
    stop.abort(new Error('another file failed'));
    await Promise.allSettled(workers);
  }
}

/** The listed files among `wanted` that a folder does not hold in full. */
async function missingIn(folder: string, files: Files, wanted: readonly string[]): Promise<ListedFile[]> {
  const here = await filesIn(folder);
  return wanted.flatMap(path => {
    const file = files.get(path);
    return file && here.get(path) !== file.size ? [file] : [];
  });
}

async function checkSpace(folder: string, needed: number, repo: string): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined);
  // Some network disks say that they have no blocks at all.
  if (!disk || disk.blocks === 0) return;
  const free = disk.bavail * disk.bsize;
  if (free >= needed) return;
  const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6).toLocaleString('en-US')} MB`;
  throw new S3aError(
    'WRITE',
    `${repo} needs ${megabytes(needed)}, and the disk of ${folder} has ${megabytes(free)} left`,
    'Free some space there, or set HF_HOME to a folder on another disk.',
  );
}
