/** The images of a task in order, their files read ahead and the next one decoded where that is not done in this thread. */
import { S3aError } from '../errors.ts';
import { openImage, type PlainJpeg, readImage } from './decode.ts';
import type { RgbImage } from './image.ts';

/** One image to load: its index in the data set, and its path, the bytes of its file or, when it was kept, its pixels. */
export interface Item {
  index: number;
  source: string | Uint8Array | RgbImage;
}

/** An item with its image, what {@link openImage} leaves to be decoded, or what is wrong with it. */
export interface Opened extends Item {
  image: RgbImage | PlainJpeg | S3aError;
}

/** Files read ahead of the image that is worked on: while that is done the thread takes no step of any reading. */
const FILES_AHEAD = 4;

/** Opens the items one after the other. */
export async function* openInOrder(items: readonly Item[], maxPixels?: number): AsyncGenerator<Opened> {
  const waiting = [...items];
  const reading: { item: Item; image: () => Promise<Opened['image']> }[] = [];
  const readNext = (): void => {
    const item = waiting.shift();
    if (!item) return;
    const { source } = item;
    if (typeof source === 'string') {
      const bytes = readImage(source).catch(expected);
      reading.push({ item, image: () => opened(source, bytes, maxPixels) });
    } else if (source instanceof Uint8Array) {
      reading.push({ item, image: () => opened('the image', Promise.resolve(source), maxPixels) });
    } else reading.push({ item, image: async () => source });
  };
  const open = async (): Promise<Opened> => {
    const { item, image } = reading.shift()!;
    return { ...item, image: await image() };
  };
  for (let n = 0; n < FILES_AHEAD; n++) readNext();
  let next = items.length > 0 ? open() : undefined;
  while (next) {
    const result = await next;
    readNext();
    next = reading.length > 0 ? open() : undefined;
    yield result;
  }
}

async function opened(
  path: string,
  content: Promise<Uint8Array | S3aError>,
  maxPixels?: number,
): Promise<Opened['image']> {
  const bytes = await content;
  return bytes instanceof S3aError ? bytes : openImage(bytes, path, { maxPixels }).catch(expected);
}

/** Errors of an image are results here; anything else is a defect and is thrown on. */
export function expected(error: unknown): S3aError {
  if (error instanceof S3aError) return error;
  throw error;
}
