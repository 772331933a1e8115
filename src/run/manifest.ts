/** manifest.json: what a run was made with and which stages are done, rewritten after each of them. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import sharp from 'sharp';
import { z } from 'zod';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import { packageFile } from '../vocab/package-root.ts';

const stageSchema = z.object({
  /** SHA-256 of everything the stage's result depends on. */
  key: z.string(),
  seconds: z.number(),
  finished: z.string(),
  info: z.record(z.string(), z.unknown()),
});

const manifestSchema = z.object({
  format: z.literal(1),
  versions: z.record(z.string(), z.string()),
  created: z.string(),
  stages: z.record(z.string(), stageSchema),
});

export type Manifest = z.output<typeof manifestSchema>;

/** A manifest without stages, with the versions that compute. */
export function newManifest(): Manifest {
  return { format: 1, versions: versions(), created: new Date().toISOString(), stages: {} };
}

/** Versions of what decides a result. */
export function versions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const versionOf = (path: string): string => (require(path) as { version: string }).version;
  return {
    s3a: versionOf(packageFile('package.json')),
    node: process.versions.node,
    'onnxruntime-node': versionOf('onnxruntime-node/package.json'),
    sharp: sharp.versions.sharp ?? 'unknown',
    libvips: sharp.versions.vips,
    platform: `${process.platform} ${process.arch}`,
  };
}

/** Throws S3aError RUN when the file is not a manifest. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, 'manifest.json');
  const parsed = manifestSchema.safeParse(await readJson(path));
  if (parsed.success) return parsed.data;
  throw new S3aError('RUN', `${path} is not the manifest of a run: ${parsed.error.issues[0].message}`);
}

/** Writes the manifest of a run in the place of the one that is there. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeAtomic(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}
