/** Where results that several runs share are kept between runs. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

/** The folder S3A_CACHE names, else `s3a` in XDG_CACHE_HOME, else `~/.cache/s3a`; it may not be there yet. */
export function cacheFolder(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const { S3A_CACHE: own, XDG_CACHE_HOME: shared } = env;
  if (own) return resolve(own);
  // The XDG specification has relative paths ignored.
  return join(shared && isAbsolute(shared) ? shared : join(homedir(), '.cache'), 's3a');
}
