/** The directory of a ZIP archive, read by offset: PyTorch keeps its weights as stored entries of one. */
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { messageOf, S3aError } from '../errors.ts';
import { type ByteFile, openBytes } from './bytes.ts';

/** An entry as the central directory describes it, sizes in bytes. */
export interface ZipEntry {
  readonly size: number;
  /** Stored entries lie in the file as they are; only those can be read in part. */
  readonly stored: boolean;
}

/** An open archive; its directory has been read, its entries are read when they are asked for. */
export interface ZipFile {
  readonly path: string;
  /** The whole file, for reading parts of stored entries. */
  readonly bytes: ByteFile;
  /** Entries by name, in the directory's order. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Where the bytes of a stored entry start in the file; throws S3aError ZIP for any other entry. */
  start(name: string): Promise<number>;
  /** A whole entry, inflated if need be; throws S3aError ZIP when it is absent, damaged or larger than `limit` bytes. */
  read(name: string, limit: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

interface Entry extends ZipEntry {
  name: string;
  method: number;
  compressed: number;
  header: number;
  /** Where the next entry, or the directory, starts: nothing of this one may lie beyond. */
  boundary: number;
}

type Bad = (what: string) => S3aError;

// The end record with the longest comment, and a ZIP64 locator before it.
const TAIL = 22 + 0xffff + 20;
// PyTorch writes two entries a tensor at most; a directory entry has 46 bytes and a name.
const MAX_DIRECTORY = 1 << 25;
const MAX_ENTRIES = 100_000;

/**
 * Opens a ZIP or ZIP64 archive and checks its directory: sizes and offsets against the file, names for doubles, entries for overlap.
 *
 * Throws S3aError READ when the file cannot be read, ZIP for what is wrong with its content.
 */
export async function openZip(path: string): Promise<ZipFile> {
  const bad: Bad = what =>
    new S3aError('ZIP', `${path} is not a valid ZIP archive: ${what}`, 'Download or export the file again.');
  const bytes = await openBytes(path);
  try {
    const entries = await readDirectory(bytes, bad);
    const entryOf = (name: string): Entry => {
      const entry = entries.get(name);
      if (!entry) throw new S3aError('ZIP', `${path} has no entry ${quote(name)}`);
      return entry;
    };
    return {
      path,
      bytes,
      entries,
      start: async name => {
        const entry = entryOf(name);
        if (!entry.stored) throw bad(`entry ${quote(name)} is compressed`);
        return dataStart(bytes, entry, bad);
      },
      read: async (name, limit) => readEntry(bytes, entryOf(name), limit, bad),
      close: bytes.close,
    };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

interface Directory {
  count: number;
  size: number;
  start: number;
}

async function readDirectory(bytes: ByteFile, bad: Bad): Promise<Map<string, Entry>> {
  const { count, size, start } = await findDirectory(bytes, bad);
  if (count > MAX_ENTRIES || size > MAX_DIRECTORY)
    throw bad(`a directory of ${count} entries in ${size} bytes is too large`);
  const data = await bytes.read(start, size);
  const view = new DataView(data.buffer);
  const entries = new Map<string, Entry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || view.getUint32(at, true) !== 0x02014b50) throw bad(`its directory breaks off at entry ${i}`);
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const end = extraEnd + view.getUint16(at + 32, true);
    if (end > size) throw bad(`its directory breaks off at entry ${i}`);
    const name = new TextDecoder().decode(data.subarray(at + 46, nameEnd));
    if (entries.has(name)) throw bad(`it has two entries ${quote(name)}`);
    if (view.getUint16(at + 8, true) & 1) throw bad(`entry ${quote(name)} is encrypted`);
    const wide = zip64Fields(view, nameEnd, extraEnd);
    const field = (offset: number): number => {
      const value = view.getUint32(at + offset, true);
      return value === 0xffffffff ? (wide.shift() ?? Number.NaN) : value;
    };
    // The extra field holds what does not fit, in this order.
    const [full, compressed, header] = [field(24), field(20), field(42)];
    if (![full, compressed, header].every(Number.isSafeInteger))
      throw bad(`the sizes of entry ${quote(name)} are no counts`);
    const method = view.getUint16(at + 10, true);
    entries.set(name, { name, method, stored: method === 0, size: full, compressed, header, boundary: 0 });
    at = end;
  }
  checkPlaces([...entries.values()], start, bad);
  return entries;
}

/** The 8-byte numbers of the ZIP64 extra field, if there is one. */
function zip64Fields(view: DataView, start: number, end: number): number[] {
  for (let at = start; at + 4 <= end; ) {
    const next = at + 4 + view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1 && next <= end) {
      const numbers: number[] = [];
      for (let i = at + 4; i + 8 <= next; i += 8) numbers.push(Number(view.getBigUint64(i, true)));
      return numbers;
    }
    at = next;
  }
  return [];
}

async function findDirectory(bytes: ByteFile, bad: Bad): Promise<Directory> {
  const tailStart = Math.max(0, bytes.size - TAIL);
  const tail = await bytes.read(tailStart, bytes.size - tailStart);
  const view = new DataView(tail.buffer);
  let at = tail.length - 22;
  // The record is the last one whose comment ends with the file.
  while (
    at >= 0 &&
    !(view.getUint32(at, true) === 0x06054b50 && at + 22 + view.getUint16(at + 20, true) === tail.length)
  )
    at--;
  if (at < 0) throw bad('it has no directory at its end; it was cut short');
  const directory = {
    count: view.getUint16(at + 10, true),
    size: view.getUint32(at + 12, true),
    start: view.getUint32(at + 16, true),
  };
  let end = tailStart + at;
  if (at >= 20 && view.getUint32(at - 20, true) === 0x07064b50) {
    const place = Number(view.getBigUint64(at - 12, true));
    if (place + 56 > end) throw bad('its ZIP64 record lies outside the file');
    const record = new DataView((await bytes.read(place, 56)).buffer);
    if (record.getUint32(0, true) !== 0x06064b50) throw bad('it has no ZIP64 record where one should be');
    directory.count = Number(record.getBigUint64(32, true));
    directory.size = Number(record.getBigUint64(40, true));
    directory.start = Number(record.getBigUint64(48, true));
    end = place;
  }
  const { start, size } = directory;
  if (start + size > end) throw bad(`a directory of ${size} bytes at ${start} lies outside its ${bytes.size} bytes`);
  return directory;
}

/** Every entry has to end before the next one starts; what the local headers add is checked when an entry is read. */
function checkPlaces(entries: Entry[], directory: number, bad: Bad): void {
  entries.sort((a, b) => a.header - b.header);
  for (const [i, entry] of entries.entries()) {
    entry.boundary = entries[i + 1]?.header ?? directory;
    if (entry.header + 30 + entry.compressed > Math.min(entry.boundary, directory)) {
      throw bad(
        `entry ${quote(entry.name)} of ${entry.compressed} bytes at ${entry.header} reaches into what follows it`,
      );
    }
    if (entry.stored && entry.size !== entry.compressed) {
      throw bad(`entry ${quote(entry.name)} is stored but has two sizes, ${entry.compressed} and ${entry.size}`);
    }
  }
}

async function dataStart(bytes: ByteFile, { name, header, compressed, boundary }: Entry, bad: Bad): Promise<number> {
  const view = new DataView((await bytes.read(header, 30)).buffer);
  if (view.getUint32(0, true) !== 0x04034b50) throw bad(`entry ${quote(name)} has no header at ${header}`);
  // The local extra field is padding in PyTorch's files, so its length differs from the directory's.
  const start = header + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + compressed > boundary) throw bad(`entry ${quote(name)} reaches into what follows it`);
  return start;
}

async function readEntry(bytes: ByteFile, entry: Entry, limit: number, bad: Bad): Promise<Uint8Array<ArrayBuffer>> {
  const { name, size, compressed, method } = entry;
  if (size > limit || compressed > limit)
    throw bad(`entry ${quote(name)} has ${size} bytes, at most ${limit} are read`);
  const data = await bytes.read(await dataStart(bytes, entry, bad), compressed);
  if (method === 0) return data;
  if (method !== 8) throw bad(`entry ${quote(name)} is compressed by the unknown method ${method}`);
  let inflated: Uint8Array<ArrayBuffer>;
  try {
    inflated = new Uint8Array(await promisify(inflateRaw)(data, { maxOutputLength: Math.max(size, 1) }));
  } catch (error) {
    throw bad(`entry ${quote(name)} does not inflate to ${size} bytes (${messageOf(error)})`);
  }
  if (inflated.length !== size)
    throw bad(`entry ${quote(name)} inflates to ${inflated.length} bytes instead of ${size}`);
  return inflated;
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}
