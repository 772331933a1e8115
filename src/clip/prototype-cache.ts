/** Prototypes kept between runs: parts of a table as .npy files, each named by the SHA-256 of its rows. */
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { hashBytes } from '../io/hash.ts';
import { openNpy, writeNpy } from '../io/npy.ts';
import type { PrototypeStore } from './prototypes.ts';

/** Most bytes that all tables together take; those that were used longest ago go first. */
const LIMIT = 2 * 2 ** 30;

export interface PrototypeCache extends PrototypeStore {
  /** Rows that were read instead of computed. */
  readonly found: number;
  /** Makes room: removes tables that were not used for longest. Never throws. */
  trim(): Promise<void>;
}

export interface PrototypeCacheOptions {
  /** The folder of all tables. */
  folder: string;
  /** Identifies everything that the rows depend on; 64 hexadecimal digits. */
  key: string;
  /** D. */
  width: number;
  /** Is told what is damaged, and once why nothing can be kept. */
  warn: (message: string) => void;
  /** Most bytes of all tables, default 2 GiB. */
  limit?: number;
}

/**
 * Opens the cache of one table. It is only a cache: a file that is damaged, of another shape, or not there is a part to compute,
 * and a folder that cannot be written to is one warning.
 */
export function openPrototypeCache({ folder, key, width, warn, limit = LIMIT }: PrototypeCacheOptions): PrototypeCache {
  const own = key.slice(0, 32);
  const place = join(folder, own);
  let found = 0;
  let writable = true;
  return {
    get found() {
      return found;
    },
    async read(part, count) {
      const prefix = `${String(part).padStart(5, '0')}-`;
      const names = await readdir(place).catch(() => []);
      const name = names.find(file => file.startsWith(prefix) && file.endsWith('.npy'));
      if (name === undefined) return undefined;
      const rows = await readPart(join(place, name), [count, width], name.slice(prefix.length, -'.npy'.length)).catch(
        messageOf,
      );
      if (typeof rows !== 'string') {
        found += count;
        return rows;
      }
      warn(`a damaged part of the cache is computed again: ${rows}`);
      await rm(join(place, name), { force: true }).catch(() => {});
      return undefined;
    },
    async write(part, rows) {
      if (!writable) return;
      const name = `${String(part).padStart(5, '0')}-${hashBytes(rows)}.npy`;
      try {
        await writeNpy(join(place, name), '<f4', [rows.length / width, width], rows);
      } catch (error) {
        writable = false;
        warn(`prototypes are not kept for other runs: ${messageOf(error)}`);
      }
    },
    async trim() {
      const now = new Date();
      await utimes(place, now, now).catch(() => {});
      await removeOldest(folder, own, limit).catch(() => {});
    },
  };
}

async function readPart(path: string, shape: readonly number[], hash: string): Promise<Float32Array> {
  const file = await openNpy(path);
  try {
    if (file.dtype !== '<f4' || file.shape.join() !== shape.join()) {
      throw new Error(`${path} has ${file.dtype} of shape (${file.shape}), not <f4 of (${shape})`);
    }
    const rows = await file.readFloat32();
    if (hashBytes(rows) !== hash) throw new Error(`${path} has other bytes than its name says`);
    return rows;
  } finally {
    await file.close();
  }
}

/** Removes the tables that were used longest ago, but for one, until all take at most `limit` bytes. */
async function removeOldest(folder: string, kept: string, limit: number): Promise<void> {
  const tables = [];
  for (const name of (await readdir(folder)).filter(entry => /^[0-9a-f]{32}$/.test(entry))) {
    const place = join(folder, name);
    const files = await Promise.all((await readdir(place)).map(file => stat(join(place, file))));
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    tables.push({ name, bytes, used: (await stat(place)).mtimeMs });
  }
  let total = tables.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { name, bytes } of tables.sort((a, b) => a.used - b.used)) {
    if (total <= limit) return;
    if (name === kept) continue;
    await rm(join(folder, name), { recursive: true, force: true });
    total -= bytes;
  }
}
