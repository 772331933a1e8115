/** The scan stage: which images there are, each with the hash of its content. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { listImages } from '../images/source.ts';
import { hashFile, hashJson } from '../io/hash.ts';
import { readJsonl, writeJsonl } from '../io/jsonl.ts';
import type { Run } from './store.ts';

/** A line of images.jsonl. */
interface Scanned {
  file_name: string;
  sha256: string;
}

/** An image that was not used, and why; a line of skipped.jsonl. */
export interface Skipped {
  file_name: string;
  reason: string;
}

export interface Scan {
  /** Folder that file names are relative to. */
  root: string;
  files: string[];
  skipped: Skipped[];
}

/**
 * Lists and hashes the images: `images.jsonl`.
 * @throws S3aError EMPTY, NOT_FOUND, and what the model's loading throws
 */
export async function scan(run: Run): Promise<Scan> {
  const { images, recursive } = run.config;
  const listed = await listImages(images, { recursive });
  // Before anything is recorded: a run whose model cannot be had leaves nothing that would have to be resumed.
  await run.clip();
  // What a file system can tell quickly decides whether contents must be read again; who may read them is in the change time.
  const glance = await Promise.all(
    listed.files.map(async file => {
      const found = await stat(join(listed.root, file)).catch(() => undefined);
      return [file, found?.size ?? -1, found?.mtimeMs ?? -1, found?.ctimeMs ?? -1];
    }),
  );
  const before = run.manifest.stages.scan && (await readScanned(run).catch(() => undefined));
  await run.stage('scan', { root: listed.root, glance }, ['images.jsonl'], async () => {
    const lines: Scanned[] = [];
    for (const [i, file_name] of listed.files.entries()) {
      // An unreadable file is reported when it is decoded; here it only has no hash.
      lines.push({ file_name, sha256: await hashFile(join(listed.root, file_name)).catch(() => 'unreadable') });
      if (i % 256 === 0) run.progress('scan', i, listed.files.length);
    }
    if (before) warnOfChanges(run, before, lines);
    await writeJsonl(run.path('images.jsonl'), lines);
    return { images: lines.length, sha256: hashJson(lines) };
  });
  const lines = await readScanned(run);
  return { root: listed.root, files: lines.map(line => line.file_name), skipped: listed.skipped };
}

async function readScanned(run: Run): Promise<Scanned[]> {
  return (await readJsonl(run.path('images.jsonl'))) as Scanned[];
}

/** Who resumes a run should know when it begins anew because somebody has touched the images. */
function warnOfChanges(run: Run, before: readonly Scanned[], now: readonly Scanned[]): void {
  const known = new Map(before.map(({ file_name, sha256 }) => [file_name, sha256]));
  const fresh = now.filter(({ file_name }) => !known.has(file_name)).length;
  const other = now.filter(line => known.has(line.file_name) && known.get(line.file_name) !== line.sha256).length;
  const gone = before.length - (now.length - fresh);
  if (fresh + other + gone === 0) return;
  const what = `${fresh} new, ${gone} gone, ${other} with other content`;
  run.warn(`the images have changed since they were listed: ${what}; what depends on them is computed again`);
}

/** What is wrong with an image, without its path where that goes before: `file_name` says which it is, on every machine alike. */
export function withoutPath(reason: string, root: string, file: string): string {
  const path = `${join(root, file)}: `;
  return reason.startsWith(path) ? reason.slice(path.length) : reason;
}
