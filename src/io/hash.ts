/** SHA-256 of bytes, files and JSON values: the keys of stages and inputs. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { S3aError, whyOf } from '../errors.ts';
import { stableStringify } from './json.ts';

/** SHA-256 of text (as UTF-8) or of the bytes of any view, as 64 hexadecimal digits. */
export function hashBytes(data: string | NodeJS.ArrayBufferView): string {
  return createHash('sha256').update(data).digest('hex');
}

/** SHA-256 of a file's content, streamed, as 64 hexadecimal digits. Throws S3aError READ. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    throw new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, undefined, { cause: error });
  }
  return hash.digest('hex');
}

/** SHA-256 of a JSON value, the same whatever the order of its keys; throws what `stableStringify` throws. */
export function hashJson(value: unknown): string {
  return hashBytes(stableStringify(value));
}
