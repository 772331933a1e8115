/** The file of kept activations: a row of float32 for every view of every image, view by view, computed once. */
import { existsSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { compile, type Program, type Session, type SessionOptions, sizeOf } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import type { Failure } from '../images/batch.ts';
import { createLoader } from '../images/loader.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import { type Resources, withResources } from './resources.ts';
import { startOf, type TrainData } from './settings.ts';
import { frozenPart } from './tower.ts';
import type { TunePlan } from './tune.ts';

export interface ActivationOptions extends SessionOptions {
  data: TrainData;
  plan: TunePlan;
  seed: number;
  workers?: number;
  /** Bytes of decoded images to keep in memory while views are computed. */
  cacheBytes?: number;
  /** Hash of all that the training depends on; activations of another one are computed anew. */
  key: string;
  /** Where the file is or shall be. */
  folder: string;
  /** Called with the number of views computed and of all; what it throws ends the work. */
  onProgress?: (done: number, total: number) => void;
}

/** Images computed at once. */
export const BATCH = 32;

const schema = z.object({
  format: z.literal(1),
  key: z.string(),
  failed: z.array(z.object({ index: z.int().min(0), reason: z.string() })),
});

/** Values that one image has in each of the tensors at which the tower is cut. */
export function keptValues({ config }: Pick<TrainData, 'config'>, plan: TunePlan): number[] {
  return [...frozenPart(config, plan, 1).outputs.values()].map(({ shape }) => sizeOf(shape));
}

/** Bytes that the activations of all images take. */
export function activationBytes(data: Pick<TrainData, 'config' | 'files'>, plan: TunePlan): number {
  return 4 * keptValues(data, plan).reduce((a, b) => a + b, 0) * data.files.length * (1 + plan.cachedViews);
}

export interface ActivationFile {
  /** Images that cannot be read; their rows are of no worth. */
  readonly failed: readonly Failure[];
  /** Reads the row of a view of an image; view 0 is the evaluation view, view 1 + v the strong view of epoch v. */
  read(row: Float32Array, view: number, index: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the file, which is computed where `folder` does not hold the whole of it; close it when done.
 * @throws S3aError SPACE when the disk has no room for it
 */
export async function openActivationFile(options: ActivationOptions): Promise<ActivationFile> {
  const { data, plan, key, folder } = options;
  const [path, facts] = [join(folder, 'views.f32'), join(folder, 'views.json')];
  const parsed = existsSync(facts) ? schema.safeParse(await readJson(facts)).data : undefined;
  // A removal that was killed may have left one of both.
  const isWhole = existsSync(path) && statSync(path).size === activationBytes(data, plan);
  const known = isWhole && parsed?.key === key ? parsed : undefined;
  const failed = known?.failed ?? (await compute(options, path));
  if (!known) await writeAtomic(facts, `${JSON.stringify({ format: 1, key, failed })}\n`);
  const file = await open(path, 'r');
  return {
    failed,
    read: (row, view, index) => readRow(file, row, view * data.files.length + index),
    close: () => file.close(),
  };
}

/** Computes all views into the file, which has its name only when it is complete; the images that cannot be read. */
async function compute(options: ActivationOptions, path: string): Promise<Failure[]> {
  const { folder } = options;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await checkSpace(options);
  const failed = await withResources(async opened => {
    const file = await open(`${path}.part`, 'w');
    opened.add({ dispose: () => file.close() });
    const failed = await writeViews(options, file, opened);
    // Images that cannot be read leave holes, the last of them none.
    await file.truncate(activationBytes(options.data, options.plan));
    await file.sync();
    return failed;
  });
  await rename(`${path}.part`, path);
  return failed.toSorted((a, b) => a.index - b.index);
}

async function checkSpace({ data, plan, folder }: ActivationOptions): Promise<void> {
  const bytes = activationBytes(data, plan);
  const { bavail, bsize } = await statfs(folder);
  if (bytes <= bavail * bsize) return;
  const gib = (n: number): string => `${(n / 2 ** 30).toFixed(1)} GiB`;
  throw new S3aError(
    'SPACE',
    `the activations of ${data.files.length} images take ${gib(bytes)}, and ${folder} has room for ${gib(bavail * bsize)}`,
    'Keep fewer views with --cached-views, freeze more with --freeze-layers, or use --tune head.',
  );
}

/** Embeds every view of all images by the frozen part, and writes the rows; the images that cannot be read. */
async function writeViews(options: ActivationOptions, file: FileHandle, opened: Resources): Promise<Failure[]> {
  const { data, plan, seed, workers, cacheBytes, onProgress } = options;
  const { config, preprocess, root, files } = data;
  const batch = Math.min(BATCH, files.length);
  const graph = frozenPart(config, plan, batch);
  const size = sizeOf(graph.inputs.get('pixels')!.shape);
  const loader = opened.add(createLoader({ root, files, workers, cacheBytes, ...preprocess }));
  const session = opened.add(await openFrozenPart(options, graph));
  const failed = new Map<number, Failure>();
  for (let view = 0; view <= plan.cachedViews; view++) {
    const kind = view === 0 ? 'evaluation' : 'strong';
    const epoch = Math.max(view - 1, 0);
    let done = 0;
    for await (const loaded of loader.batches({ batchSize: batch, views: [kind], seed, epoch })) {
      for (const failure of loaded.failed) failed.set(failure.index, failure);
      const pixels = new Float32Array(size);
      pixels.set(loaded.views[kind]);
      const outputs = (await session.run({ pixels })) as Record<string, Float32Array>;
      const parts = [...graph.outputs.keys()].map(name => outputs[name]);
      for (const [i, index] of loaded.indices.entries()) {
        await writeRow(file, rowOf(parts, i, batch), view * files.length + index);
      }
      done += loaded.indices.length + loaded.failed.length;
      onProgress?.(view * files.length + done, (1 + plan.cachedViews) * files.length);
    }
  }
  return [...failed.values()];
}

/** The frozen part, compiled, with its weights. */
async function openFrozenPart({ data, device, threads }: ActivationOptions, graph: Program): Promise<Session> {
  // Laid out for products, weights would be there three times over, and of a transformer little faster (clip/encoders.ts).
  const convolves = data.config.vision_config.model_type === 's3a_resnet';
  const session = await compile(graph, { device, threads, frozen: convolves || 'cuda' });
  try {
    const weights = await startOf(data);
    const frozen = [...graph.inputs.keys()].filter(name => name.startsWith('frozen.'));
    const given = Object.fromEntries(frozen.map(name => [name, weights[name.slice('frozen.'.length)]]));
    await session.setState(given, { move: typeof data.weights === 'function' });
    return session;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** The tensors of one of the images of a batch, one after the other. */
function rowOf(parts: readonly Float32Array[], i: number, batch: number): Float32Array {
  const own = parts.map(part => part.subarray((i * part.length) / batch, ((i + 1) * part.length) / batch));
  const row = new Float32Array(own.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of own) {
    row.set(part, at);
    at += part.length;
  }
  return row;
}

async function writeRow(file: FileHandle, row: Float32Array, at: number): Promise<void> {
  const bytes = bytesOf(row);
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at * bytes.length + done)).bytesWritten;
  }
}

async function readRow(file: FileHandle, row: Float32Array, at: number): Promise<void> {
  const { bytesRead } = await file.read(bytesOf(row), 0, row.byteLength, at * row.byteLength);
  if (bytesRead !== row.byteLength) {
    throw new S3aError(
      'CHECKPOINT',
      `the file of activations ends before row ${at}`,
      'Remove its folder to compute them anew.',
    );
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
