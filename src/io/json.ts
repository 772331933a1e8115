/** JSON text that depends on the value alone, for hashing, and reading of small JSON files. */
import { readFile, stat } from 'node:fs/promises';
import { messageOf, S3aError, whyOf } from '../errors.ts';

/**
 * Like JSON.stringify, with the keys of every object sorted by code unit and `undefined` members left out.
 *
 * Throws S3aError JSON on what JSON cannot hold (NaN, infinities, bigint, functions, cycles), so that two different
 * values never share a text.
 */
export function stableStringify(value: unknown): string {
  const text = write(value, []);
  if (text === undefined) throw new S3aError('JSON', 'undefined has no JSON text');
  return text;
}

function write(value: unknown, path: object[]): string | undefined {
  if (value === undefined) return undefined;
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new S3aError('JSON', `${value} has no JSON text`);
    return JSON.stringify(value);
  }
  if (typeof value !== 'object') throw new S3aError('JSON', `a ${typeof value} has no JSON text`);
  if (path.includes(value)) throw new S3aError('JSON', 'a value that contains itself has no JSON text');
  if ('toJSON' in value && typeof value.toJSON === 'function') return write(value.toJSON(), [...path, value]);
  const inner = [...path, value];
  if (Array.isArray(value)) return `[${value.map(item => write(item, inner) ?? 'null').join(',')}]`;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new S3aError(
      'JSON',
      `a ${value.constructor?.name ?? 'class'} has no JSON text`,
      'Convert it to an array or a plain object.',
    );
  }
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const text = write((value as Record<string, unknown>)[key], inner);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${members.join(',')}}`;
}

/**
 * The value of a JSON file of at most `limit` bytes.
 *
 * Throws S3aError READ when it cannot be read or is too large, JSON when it is not UTF-8 JSON.
 */
export async function readJson(path: string, limit = 1 << 28): Promise<unknown> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > limit)
      throw new S3aError('READ', `${path} is too large for a JSON file: ${size} bytes, at most ${limit}`);
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, undefined, { cause: error });
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new S3aError('JSON', `${path} is not valid JSON: ${messageOf(error)}`, undefined, { cause: error });
  }
}
