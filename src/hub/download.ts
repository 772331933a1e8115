/** One file of the hub becomes one blob of the cache: resumed, bounded, checked, then renamed. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { S3aError } from '../errors.ts';
import { expectSuccess, type RemoteFile } from './api.ts';
import { cannotWrite, exists, type RepoCache } from './cache.ts';
import type { HubSettings } from './environment.ts';
import { isOfTheDisk } from './failures.ts';
import { drop, type HttpClient, type HubResponse, piecesOf } from './http.ts';
import { withLock } from './lock.ts';
import { type Patience, patiently } from './retry.ts';
import { pieceWriter } from './writer.ts';

/** What downloads are done with. */
export interface Downloader {
  readonly client: HttpClient;
  readonly settings: HubSettings;
  readonly patience: Patience;
  readonly signal: AbortSignal | undefined;
}

/** The bytes of a blob that are here already: all, or those of a download that was cut off. */
export async function bytesPresent(cache: RepoCache, { etag, size }: { etag: string; size: number }): Promise<number> {
  if ((await sizeOf(cache.blob(etag))) === size) return size;
  const part = await sizeOf(partOf(cache.blob(etag)));
  return part <= size ? part : 0;
}

/**
 * Makes sure that the blob of a file is in the cache.
 *
 * A part that an earlier download left (`<etag>.incomplete`, as huggingface_hub names it) is gone on with. The content is
 * compared with what the hub said (size, and SHA-256 or Git's SHA-1) before the blob gets its name.
 *
 * Throws S3aError WRITE, HUB_ANSWER for content that is not what was announced, what `HttpClient.send` throws, StatusError,
 * and the signal's reason; the part stays for the next time unless it is wrong.
 * @param onBytes told how many of the file's bytes are here
 */
export async function downloadBlob(
  downloader: Downloader,
  cache: RepoCache,
  file: RemoteFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const blob = cache.blob(file.etag);
  // An empty file is one, too; a blob of another size is what a failing disk or a helping hand left.
  const whole = async (): Promise<boolean> => (await exists(blob)) && (await sizeOf(blob)) === file.size;
  if (await whole()) return onBytes(file.size);
  const part = partOf(blob);
  const waiting = async (): Promise<void> => onBytes(Math.min(file.size, await sizeOf(part)));
  try {
    await mkdir(dirname(blob), { recursive: true });
    await withLock(cache.lock(file.etag), downloader.signal, waiting, async () => {
      if (await whole()) return;
      await fetchAndCheck(downloader, file, part, onBytes);
      // Without the lock, on a disk that ignores it, another process may have been faster with the same content.
      await rename(part, blob).catch(async error => {
        if (!(await whole())) throw error;
      });
    });
  } catch (error) {
    throw isOfTheDisk(error) ? cannotWrite(blob, error) : error;
  }
  onBytes(file.size);
}

async function fetchAndCheck(
  downloader: Downloader,
  file: RemoteFile,
  part: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    await fetchAll(downloader, file, part, onBytes);
    const wrong = await whatIsWrong(part, file);
    if (wrong === undefined) return;
    // What an earlier download left may be of no use; what came now, twice, is the hub's.
    await rm(part, { force: true });
    onBytes(0);
    if (attempt > 0) {
      throw new S3aError(
        'HUB_ANSWER',
        `${file.path} is not what ${downloader.settings.endpoint} announced: ${wrong}`,
        'Try again later; if it stays so, a proxy or a mirror (HF_ENDPOINT) changes files on the way.',
      );
    }
  }
}

/** Fills the part up to the file's size, in as many requests as it takes. */
async function fetchAll(
  { client, settings, patience, signal }: Downloader,
  file: RemoteFile,
  part: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const handle = await open(part, 'a').then(async made => {
    await made.close();
    return open(part, 'r+');
  });
  try {
    let at = (await handle.stat()).size;
    if (at > file.size) {
      await handle.truncate(0);
      at = 0;
    }
    onBytes(at);
    let before = at;
    const timeoutMs = settings.downloadTimeoutMs;
    const restart = async (): Promise<void> => {
      await handle.truncate(0);
      at = 0;
    };
    const ask = (): Promise<HubResponse> =>
      client.send(file.url, { headers: at > 0 ? { range: `bytes=${at}-` } : {}, timeoutMs, signal });
    const attempt = async (): Promise<void> => {
      before = at;
      if (at === file.size) return;
      let response = await ask();
      if (response.status === 416 && at > 0) {
        // The server does not know the rest of what is here.
        drop(response);
        await restart();
        response = await ask();
      }
      if (!continues(response, at, file)) await restart();
      let received = at;
      const writer = pieceWriter(handle, at, position => {
        at = position;
        onBytes(position);
      });
      try {
        for await (const piece of piecesOf(response, timeoutMs)) {
          received += piece.length;
          if (received > file.size) throw unexpected(response, file, 'it is longer');
          await writer.push(piece);
        }
      } finally {
        await writer.settle();
      }
      // A connection that ends in order but too early is like one that breaks.
      if (at < file.size) throw Object.assign(new Error('the answer ended early'), { code: 'ECONNRESET' });
    };
    const progressed = (): boolean => at > before;
    await patiently(patience, signal, attempt, progressed);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Whether the body of an answer goes on at byte `asked`; otherwise it begins at the first. */
function continues(response: HubResponse, asked: number, file: RemoteFile): boolean {
  const { status, headers } = response;
  expectSuccess(response);
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity')
    throw unexpected(response, file, `it is encoded (${encoding})`);
  if (status !== 206) {
    const length = headers['content-length'];
    if (length !== undefined && Number(length) !== file.size) throw unexpected(response, file, `it has ${length}`);
    return false;
  }
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers['content-range'] ?? '') ?? [];
  if (Number(start) !== asked) throw unexpected(response, file, 'it is another part than asked for');
  if (total !== '*' && Number(total) !== file.size) throw unexpected(response, file, `it has ${total}`);
  return true;
}

function unexpected({ url, body }: HubResponse, { path, size }: RemoteFile, what: string): S3aError {
  body.destroy();
  return new S3aError(
    'HUB_ANSWER',
    `what ${url.host} sends as ${path} is not the file of ${size} bytes that was announced: ${what}`,
    'Try again later; if it stays so, a proxy or a mirror (HF_ENDPOINT) changes files on the way.',
  );
}

/** Why the content on disk is not the announced one; undefined when it is. */
async function whatIsWrong(path: string, { size, sha256, gitSha1 }: RemoteFile): Promise<string | undefined> {
  const found = await sizeOf(path);
  if (found !== size) return `it has ${found} bytes instead of ${size}`;
  const [name, expected] = sha256 ? ['sha256', sha256] : ['sha1', gitSha1];
  if (expected === undefined) return undefined;
  const hash = createHash(name);
  // Git hashes a header before the content.
  if (!sha256) hash.update(`blob ${size}\0`);
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece as Buffer);
  const digest = hash.digest('hex');
  return digest === expected
    ? undefined
    : `its ${name} is ${digest.slice(0, 12)}… instead of ${expected.slice(0, 12)}…`;
}

function partOf(blob: string): string {
  return `${blob}.incomplete`;
}

/** Bytes of a file; 0 when there is none. */
async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
