/** What a revision of a repository is on the hub: its commit and the files that it lists. */
import { S3aError } from '../errors.ts';
import { type Files, listFiles, type Opened } from './fetch.ts';
import { isCommit } from './names.ts';
import { patiently } from './retry.ts';

// The largest tokenizer of the known models has 34 MB.
const MAX_SMALL = 128 << 20;

/**
 * Asks the hub. Who has no network should hear of it soon; a hub that has answered once is given more time.
 *
 * Throws what `HubApi.commitOf` and `HubApi.filesOf` throw, and the signal's reason.
 * @param spare whether there is a complete copy in the cache, so that one question is enough
 */
export async function revisionOf(opened: Opened, spare: boolean): Promise<{ commit: string; files: Files }> {
  const { session, name } = opened;
  const { api, signal } = session;
  const patience = { ...session.patience, retries: spare ? 0 : Math.min(2, session.patience.retries) };
  const commit = isCommit(name.revision)
    ? name.revision
    : await patiently(patience, signal, () => api.commitOf(name, signal));
  const files = await patiently(spare ? patience : session.patience, signal, () => listFiles(opened, commit));
  return { commit, files };
}

/** Throws S3aError MODEL for a config or tokenizer that is far too large to be that. */
export function refuseLarge({ name }: Opened, files: Files, small: readonly string[]): void {
  const large = small.find(file => (files.get(file)?.size ?? 0) > MAX_SMALL);
  if (large === undefined) return;
  const what = `${name.repo} lists ${large} with ${files.get(large)?.size} bytes, which is no ${large}`;
  throw new S3aError('MODEL', what, 'Choose another model or revision.');
}
