/** Images in parquet files, as the Hugging Face hub distributes sets: a column of {bytes, path}, one of class numbers. */
import { basename, join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { asyncBufferFromFile } from 'hyparquet/src/node.js';
import { messageOf, S3aError } from '../errors.ts';
import { namesIn, type Wanted } from './data-folder.ts';
import { type ImageRecord, MAX_IMAGES } from './image-source.ts';
import type { RawSplit } from './protocol.ts';

export interface ParquetOptions {
  wanted: Wanted;
  /** Names the column of images may have, in the order of looking. */
  image: readonly string[];
  label: readonly string[];
  /** The place of the class of a label; undefined leaves the image out. */
  labelOf: (label: number | string, names: readonly string[] | undefined) => number | undefined;
}

/** Folders below the data folder that parquet files lie in. */
const FOLDERS = ['', 'data', 'cifar100', 'default', 'train', 'test', 'validation'];
const MAX_FOOTER_VALUES = 100_000;
/** A group of rows is in memory at once. */
const MAX_GROUP_BYTES = 2 ** 31;
const COMPRESSORS = {
  GZIP: (bytes: Uint8Array, size: number) => new Uint8Array(gunzipSync(bytes, { maxOutputLength: Math.max(1, size) })),
  BROTLI: (bytes: Uint8Array, size: number) =>
    new Uint8Array(brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, size) })),
};

/** Whether there are parquet files of a split below the folder. */
export async function isParquet(folder: string, split: string): Promise<boolean> {
  return (await findParquet(folder, split)).length > 0;
}

/**
 * The parquet files of a split in their order: `data/train-00000-of-00294.parquet`, `cifar100/train-…`, or `train/0000.parquet`.
 * @throws S3aError DATASET when one of a numbered series is missing
 */
export async function parquetFiles(folder: string, split: string): Promise<string[]> {
  const files = await findParquet(folder, split);
  const total = Number(/-of-(\d+)[.-]/.exec(files[0] ?? '')?.[1] ?? files.length);
  if (files.length === 0 || files.length !== total) {
    throw new S3aError(
      'DATASET',
      `${folder} has ${files.length} of ${Math.max(total, 1)} parquet files of the split ${split}`,
      'Download all of them.',
    );
  }
  return files;
}

async function findParquet(folder: string, split: string): Promise<string[]> {
  for (const place of FOLDERS) {
    const here = join(folder, place);
    const names = await namesIn(here).catch(() => []);
    const own = names.filter(
      name =>
        name.endsWith('.parquet') && (name.startsWith(`${split}-`) || name === `${split}.parquet` || place === split),
    );
    if (own.length > 0) return own.map(name => join(here, name));
  }
  return [];
}

interface Part {
  path: string;
  file: AsyncBuffer;
  metadata: FileMetaData;
  image: string;
}

/**
 * The images of parquet files with their labels, and the names of classes that the files tell.
 * @throws S3aError DATASET for what is no such file, lacks the columns or is too large
 */
export async function parquetSplit(
  paths: readonly string[],
  { wanted, image, label, labelOf }: ParquetOptions,
): Promise<{ split: RawSplit; names?: readonly string[] }> {
  const parts: Part[] = [];
  const labels: number[] = [];
  /** For each part, the places of its rows among the images, −1 for those that are left out. */
  const places: Int32Array[] = [];
  const origins: string[] = [];
  let names: readonly string[] | undefined;
  for (const path of paths) {
    await guarded(path, async () => {
      const file = await asyncBufferFromFile(path);
      const metadata = await parquetMetadataAsync(file);
      const columns = new Set(metadata.schema.map(({ name }) => name));
      const [imageColumn, labelColumn] = [image, label].map(choices => choices.find(name => columns.has(name)));
      if (imageColumn === undefined || labelColumn === undefined) {
        throw new Error(`it has no columns ${image.join(' or ')} and ${label.join(' or ')}`);
      }
      const rows = Number(metadata.num_rows);
      if (!(labels.length + rows <= MAX_IMAGES)) throw new Error(`it has ${rows} rows, too many`);
      names ??= namesOfClasses(metadata, labelColumn);
      const cells = await parquetReadObjects({ file, metadata, columns: [labelColumn], compressors: COMPRESSORS });
      if (cells.length !== rows) throw new Error(`it has ${cells.length} of ${rows} rows`);
      const own = new Int32Array(rows).fill(-1);
      for (const [row, cell] of cells.entries()) {
        const value: unknown = cell[labelColumn];
        const plain = typeof value === 'bigint' ? Number(value) : value;
        if (typeof plain !== 'number' && typeof plain !== 'string') throw new Error(`row ${row} has no label`);
        const place = labelOf(plain, names);
        if (place === undefined) continue;
        own[row] = labels.length;
        labels.push(place);
        origins.push(`${basename(path)}:${row}`);
      }
      parts.push({ path, file, metadata, image: imageColumn });
      places.push(own);
    });
  }
  if (parts.length === 0) throw new S3aError('DATASET', `${wanted.title}: no parquet files were given`, wanted.source);
  return {
    split: {
      source: {
        kind: 'records',
        count: labels.length,
        archives: paths,
        id: parts[0].image,
        origin: index => origins[index],
        read: () => readImages(parts, places),
      },
      labels: Int32Array.from(labels),
    },
    ...(names && { names }),
  };
}

/** Images group of rows by group of rows, and no more than one group at a time. */
async function* readImages(parts: readonly Part[], places: readonly Int32Array[]): AsyncGenerator<ImageRecord> {
  for (const [p, { path, file, metadata, image }] of parts.entries()) {
    let start = 0;
    for (const group of metadata.row_groups) {
      const end = start + Number(group.num_rows);
      const first = start;
      start = end;
      if (!places[p].subarray(first, end).some(place => place >= 0)) continue;
      const rows = await guarded(path, async () => {
        if (Number(group.total_byte_size) > MAX_GROUP_BYTES)
          throw new Error(`a group of ${group.total_byte_size} bytes`);
        return parquetReadObjects({
          file,
          metadata,
          columns: [image],
          rowStart: first,
          rowEnd: end,
          // Bytes of images are no texts.
          utf8: false,
          compressors: COMPRESSORS,
        });
      });
      for (const [i, row] of rows.entries()) {
        const index = places[p][first + i];
        if (index < 0) continue;
        const cell: unknown = row[image];
        const bytes = cell instanceof Uint8Array ? cell : (cell as { bytes?: unknown } | null)?.bytes;
        if (!(bytes instanceof Uint8Array)) {
          throw new S3aError('DATASET', `${path}, row ${first + i}: column ${image} holds no bytes of an image`);
        }
        yield { index, image: bytes };
      }
    }
  }
}

/** Names of classes in the footer, where the library that writes such files keeps its description of the columns. */
function namesOfClasses({ key_value_metadata: entries }: FileMetaData, column: string): readonly string[] | undefined {
  const text = entries?.find(({ key }) => key === 'huggingface')?.value;
  if (text === undefined) return undefined;
  const about = JSON.parse(text) as { info?: { features?: Record<string, { names?: unknown } | undefined> } } | null;
  const names = about?.info?.features?.[column]?.names;
  if (!Array.isArray(names) || names.length > MAX_FOOTER_VALUES || names.some(name => typeof name !== 'string'))
    return undefined;
  return names as string[];
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('DATASET', `cannot read ${path}: ${messageOf(error)}`, 'Download it again.');
  }
}
