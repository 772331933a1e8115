/** Where the images of a split lie: files as they are, or records within larger files. */
import type { RgbImage } from '../images/image.ts';

/** Images that are files below a folder; paths have `/` between their parts. */
export interface FileSource {
  readonly kind: 'files';
  readonly root: string;
  readonly files: readonly string[];
}

/** One record: pixels, or the bytes of an image file. */
export interface ImageRecord {
  index: number;
  image: RgbImage | Uint8Array;
}

/** Images inside archives such as parquet files; they are written out before they are used. */
export interface RecordSource {
  readonly kind: 'records';
  readonly count: number;
  /** The files they lie in; a change of one of them makes the written images stale. Drawn images have none. */
  readonly archives: readonly string[];
  /** Distinguishes sources that have the same archives, or none. */
  readonly id?: string;
  /** What the owners call a record. */
  origin(index: number): string;
  /** All records, each once, in any order, with only some in memory at a time. */
  read(): AsyncIterable<ImageRecord>;
}

export type ImageSource = FileSource | RecordSource;

/** More than the largest public set of labelled images has. */
export const MAX_IMAGES = 20_000_000;

/** Number of images of a source. */
export function countOf(source: ImageSource): number {
  return source.kind === 'files' ? source.files.length : source.count;
}

/** What the owners call an image. */
export function originOf(source: ImageSource, index: number): string {
  return source.kind === 'files' ? source.files[index] : source.origin(index);
}
