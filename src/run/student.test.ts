/** The student that is exported is the one that the run has embedded images with, whatever of it was trained. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawImages } from '../../test/drawn-images.ts';
import { loadClip } from '../clip/clip.ts';
import type { ConfigInput } from '../config/schema.ts';
import { createLoader } from '../images/loader.ts';
import { readNpyFloat32 } from '../io/npy.ts';
import { exportModel } from './export.ts';
import { fit } from './fit.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-student-'));
  await drawImages(join(folder, 'images'), 8);
});
afterAll(() => rm(folder, { recursive: true }));

/** Unit embeddings of the drawn images by a model. */
async function embedded(model: string): Promise<Float32Array> {
  const clip = await loadClip(model, { threads: 1 });
  const files = Array.from({ length: 8 }, (_, i) => `image-00${i}.png`);
  const loader = createLoader({ ...clip.preprocess, root: join(folder, 'images'), files });
  try {
    for await (const { views } of loader.batches({ batchSize: 8, views: ['evaluation'] })) {
      return await clip.embedImages(views.evaluation);
    }
    return new Float32Array(0);
  } finally {
    await loader.dispose();
    await clip.dispose();
  }
}

describe.each<[string, ConfigInput]>([
  ['all of it', {}],
  ['its later stages', { tune: 'last-blocks', cachedViews: 1 }],
  ['factors of low rank', { tune: 'lora' }],
  ['its projection', { tune: 'head', cachedViews: 1 }],
  ['all but the first stage', { freezeLayers: 1 }],
])('of a run that trained %s', (what, tuning) => {
  it('embeds as it did', async () => {
    const run = join(folder, what);
    const training = { epochs: 1, batchSize: 4, lr: 0.01, minLr: 0.01, emaStart: 0.5, emaEnd: 0.5, threshold: 0 };
    const settings: ConfigInput = { model: 'demo', vocab: 'demo', k: 3, nInit: 1, threads: 1, workers: 0 };
    await fit({ images: join(folder, 'images'), ...settings, ...training, ...tuning, out: run });
    const out = join(folder, `${what}, exported`);
    await exportModel(run, { out, role: 'student', onnx: [] });
    const { data: student } = await readNpyFloat32(join(run, 'embeddings', 'student.npy'));
    const { data: teacher } = await readNpyFloat32(join(run, 'embeddings', 'teacher.npy'));
    expect(await embedded(out)).toBeAllclose(student, { rtol: 1e-4, atol: 1e-5 });
    expect(Math.max(...student.map((value, i) => Math.abs(value - teacher[i])))).toBeGreaterThan(1e-4);
  }, 60_000);
});
