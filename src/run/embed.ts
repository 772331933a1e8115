/** The embed stage: image features of the evaluation view, with what could not be read listed. */
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import type { Rows } from '../discover/row-pass.ts';
import { S3aError } from '../errors.ts';
import { MAX_PIXELS } from '../images/image.ts';
import { createLoader } from '../images/loader.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import { writeJsonl } from '../io/jsonl.ts';
import { createNpyWriter, readNpyFloat32, writeNpy } from '../io/npy.ts';
import { type Scan, type Skipped, scan, withoutPath } from './scan.ts';
import type { Run } from './store.ts';

/** Image features with the files they belong to. */
export interface Embedded {
  root: string;
  /** File names of the N images that could be read, in the order of all later tables. */
  files: string[];
  /** [N, D] unit rows, read where they lie. */
  features: Rows;
  /** D. */
  width: number;
}

/** Images embedded between two saves, so that a killed run loses little. */
const PART = 2048;

/** Features of all readable images: `embeddings/images.npy`, `embeddings/images.json`, `skipped.jsonl`. */
export async function embed(run: Run): Promise<Embedded> {
  const scanned = await scan(run);
  const { maxPixels } = run.config;
  const inputs = {
    ...{ images: run.manifest.stages.scan.info.sha256, root: scanned.root, model: await run.modelHash() },
    ...(maxPixels === MAX_PIXELS ? {} : { maxPixels }),
  };
  const artefacts = ['embeddings/images.npy', 'embeddings/images.json', 'skipped.jsonl'];
  await run.stage('embed', inputs, artefacts, key => compute(run, scanned, key));
  const files = (await readJson(run.path('embeddings/images.json'))) as string[];
  const features = await run.rows('embeddings/images.npy');
  return { root: scanned.root, files, features, width: features.width };
}

async function compute(run: Run, { root, files, skipped }: Scan, key: string): Promise<Record<string, unknown>> {
  const clip = await run.clip();
  const { workers, embedBatch, maxPixels } = run.config;
  const loader = createLoader({ ...clip.preprocess, root, files, workers, maxPixels });
  const parts = `embeddings/parts-${key.slice(0, 16)}`;
  await mkdir(run.path(parts), { recursive: true });
  const kept: string[] = [];
  const failed: Skipped[] = [];
  try {
    for (let start = 0; start < files.length; start += PART) {
      const end = Math.min(start + PART, files.length);
      const name = `${parts}/${String(start / PART).padStart(5, '0')}`;
      if (!existsSync(run.path(`${name}.json`))) {
        const part = { files: [] as string[], failed: [] as Skipped[] };
        const rows: Float32Array[] = [];
        const indices = Array.from({ length: end - start }, (_, i) => start + i);
        for await (const batch of loader.batches({ indices, batchSize: embedBatch, views: ['evaluation'] })) {
          for (const { index, reason } of batch.failed)
            part.failed.push({ file_name: files[index], reason: withoutPath(reason, root, files[index]) });
          if (batch.indices.length > 0) rows.push(await clip.embedImages(batch.views.evaluation));
          for (const index of batch.indices) part.files.push(files[index]);
          run.progress('embed', start + part.files.length + part.failed.length, files.length);
        }
        await writeNpy(run.path(`${name}.npy`), '<f4', [part.files.length, clip.config.projection_dim], joined(rows));
        await writeAtomic(run.path(`${name}.json`), JSON.stringify(part));
      }
      const part = (await readJson(run.path(`${name}.json`))) as { files: string[]; failed: Skipped[] };
      kept.push(...part.files);
      failed.push(...part.failed);
    }
  } finally {
    await loader.dispose();
    await clip.release('images');
  }
  const unused = [...skipped, ...failed];
  await writeJsonl(run.path('skipped.jsonl'), unused);
  if (kept.length === 0) {
    throw new S3aError('EMPTY', `none of the ${files.length} images in ${root} can be read`, 'skipped.jsonl says why.');
  }
  if (unused.length > 0) {
    const which = unused.length === 1 ? '1 image was' : `${unused.length} images were`;
    run.warn(`${which} not used; ${run.path('skipped.jsonl')} says why`);
  }
  await assemble(run, parts, files.length, [kept.length, clip.config.projection_dim]);
  await writeAtomic(run.path('embeddings/images.json'), JSON.stringify(kept));
  await rm(run.path(parts), { recursive: true });
  return { images: kept.length, skipped: unused.length };
}

async function assemble(run: Run, parts: string, count: number, shape: readonly number[]): Promise<void> {
  const writer = await createNpyWriter(run.path('embeddings/images.npy'), '<f4', shape);
  try {
    for (let start = 0; start < count; start += PART) {
      const { data } = await readNpyFloat32(run.path(parts, `${String(start / PART).padStart(5, '0')}.npy`));
      await writer.append(data);
    }
    await writer.close();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(rows.reduce((n, row) => n + row.length, 0));
  let at = 0;
  for (const row of rows) {
    out.set(row, at);
    at += row.length;
  }
  return out;
}
