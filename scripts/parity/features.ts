/** One model of another library beside s3a: features of the same pixels, texts and photographs. */
import { join } from 'node:path';
import { loadClip } from '../../src/clip/clip.ts';
import { createLoader } from '../../src/images/loader.ts';
import { readJson } from '../../src/io/json.ts';
import { openSafetensors } from '../../src/io/safetensors.ts';
import { type Distance, distance, unitRows } from './measure.ts';

export interface Comparison {
  readonly image: Distance;
  readonly text: Distance;
  /** Similarities times the scale, without the bias of a sigmoid. */
  readonly logits: Distance;
  /** From the bytes of the photographs, beside the library's own processor. */
  readonly photos?: Distance;
}

interface Facts {
  readonly texts: string[];
  readonly photos: string[];
  /** Relative path of the model. */
  readonly model: string;
}

/**
 * Compares s3a with what record.py wrote into a folder.
 * @param photos the folder of photographs that record.py read
 */
export async function compareFeatures(folder: string, photos?: string): Promise<Comparison> {
  const facts = (await readJson(join(folder, 'expected.json'))) as Facts;
  const file = await openSafetensors(join(folder, 'expected.safetensors'));
  const clip = await loadClip(join(folder, facts.model), { batch: 4 });
  try {
    const width = clip.config.projection_dim;
    const rows = async (name: string) => unitRows(await file.readFloat32(name), width);
    const image = await clip.embedImages(await file.readFloat32('pixels'));
    const text = await clip.embedTexts(facts.texts);
    const logits = similarities(image, text, width, clip.logitScale);
    const comparison = {
      image: distance(image, await rows('image'), width),
      text: distance(text, await rows('text'), width),
      logits: distance(logits, await file.readFloat32('logits'), facts.texts.length),
    };
    if (photos !== undefined && facts.photos.length > 0) {
      const loader = createLoader({ ...clip.preprocess, root: photos, files: facts.photos, workers: 1 });
      const found: Float32Array[] = [];
      for await (const { views, failed } of loader.batches({ batchSize: 4, views: ['evaluation'] })) {
        if (failed.length > 0) throw new Error(`${facts.photos[failed[0].index]}: ${failed[0].reason}`);
        found.push(await clip.embedImages(views.evaluation));
      }
      await loader.dispose();
      const all = Float32Array.from(found.flatMap(part => [...part]));
      return { ...comparison, photos: distance(all, await rows('photos'), width) };
    }
    return comparison;
  } finally {
    await clip.dispose();
    await file.close();
  }
}

function similarities(a: Float32Array, b: Float32Array, width: number, scale: number): Float32Array {
  const [rows, columns] = [a.length / width, b.length / width];
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns) * width, (i % columns) * width];
    let sum = 0;
    for (let j = 0; j < width; j++) sum += a[row + j] * b[column + j];
    return scale * sum;
  });
}
