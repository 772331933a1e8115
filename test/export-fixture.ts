/** What the tests of exports share: a run of a tiny random CLIP on 50 drawn images, its labels, and its export. */
import { copyFile, mkdir, mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { exportModel } from '../src/run/export.ts';
import { fit } from '../src/run/fit.ts';
import { type Prediction, predict } from '../src/run/predict.ts';
import { drawImages } from './drawn-images.ts';

export interface Exported {
  /**
   * Holds `images/`, the same in the model's own size in `sized/`, the run `run/`, the export `photos-clip/`, and the first image
   * as `photo.png`.
   */
  folder: string;
  /** What `s3a predict --json` prints for `images/`, with the names of the run. */
  predictions: Prediction[];
  /** The same for `sized/`, which no library has to resize. */
  sized: Prediction[];
  names: string[];
}

export const TEMPLATE = 'a photo of a {}.';

/** Makes all of it in a temporary folder, which the caller removes. */
export async function makeExport(): Promise<Exported> {
  const folder = await mkdtemp(join(tmpdir(), 's3a-exported-'));
  const [images, run] = [join(folder, 'images'), join(folder, 'run')];
  await drawImages(images, 50);
  await mkdir(join(folder, 'sized'));
  for (const name of await readdir(images)) {
    await sharp(join(images, name))
      .resize(32)
      .png()
      .toFile(join(folder, 'sized', name));
  }
  await copyFile(join(images, 'image-000.png'), join(folder, 'photo.png'));
  await fit({
    images,
    out: run,
    model: fileURLToPath(new URL('goldens/clip/gelu', import.meta.url)),
    vocab: 'demo',
    // Of random weights auto would say that most groups are one thing.
    method: 's3a',
    k: 6,
    nInit: 3,
    epochs: 2,
    batchSize: 16,
    templates: [TEMPLATE],
    threads: 1,
    workers: 0,
  });
  await exportModel(run, { out: join(folder, 'photos-clip'), openClip: true, license: 'mit' });
  const classes = JSON.parse(await readFile(join(folder, 'photos-clip', 'classes.json'), 'utf8')) as {
    names: string[];
  };
  return {
    folder,
    predictions: await predict(run, images, { threads: 1 }),
    sized: await predict(run, join(folder, 'sized'), { threads: 1 }),
    names: classes.names,
  };
}

/** Share of the images that have the predicted label; labels in the order of the predictions. */
export function agreement(labels: readonly string[], predictions: readonly Prediction[]): number {
  return predictions.filter(({ label }, i) => label === labels[i]).length / predictions.length;
}

/** The blocks of a page in a language. */
export async function blocksOf(page: string, language: string): Promise<string[]> {
  const text = await readFile(fileURLToPath(new URL(`../docs/${page}`, import.meta.url)), 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block);
}
