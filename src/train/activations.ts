/**
 * Activations at the end of the frozen part, computed once for each image and kept in a file: of the evaluation view for the
 * teacher, and of some strong views for the student, which takes them in turn, one an epoch.
 *
 * With images that are square the evaluation view is the weak view. Where they are not, the weak view would be a
 * random crop along the longer side, which is given up here. Strong view v is the one that epoch v would have drawn.
 */
import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { compile, type SessionOptions, sizeOf, type TensorData } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import type { Failure } from '../images/batch.ts';
import { createLoader } from '../images/loader.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import { startOf, type TrainData } from './settings.ts';
import type { SourceBatch, SourceRequest, TrainSource } from './source.ts';
import type { EmbedAll } from './structural.ts';
import { frozenPart, teacherPart } from './tower.ts';
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

export interface Activations extends TrainSource {
  /** Embeddings of all images that can be read, by the teacher's weights. */
  readonly embedAll: EmbedAll;
}

const schema = z.object({
  format: z.literal(1),
  key: z.string(),
  failed: z.array(z.object({ index: z.int().min(0), reason: z.string() })),
});

/** Images computed at once. */
const BATCH = 32;

/** Values that one image has in each of the tensors at which the tower is cut. */
function keptValues({ config }: Pick<TrainData, 'config'>, plan: TunePlan): number[] {
  return [...frozenPart(config, plan, 1).outputs.values()].map(({ shape }) => sizeOf(shape));
}

/** Bytes that the activations of all images take. */
export function activationBytes(data: Pick<TrainData, 'config' | 'files'>, plan: TunePlan): number {
  return 4 * keptValues(data, plan).reduce((a, b) => a + b, 0) * data.files.length * (1 + plan.cachedViews);
}

/**
 * The activations of all images, computed when `folder` does not hold them; dispose of them when done.
 * @throws S3aError SPACE when the disk has no room for them
 */
export async function createActivations(options: ActivationOptions): Promise<Activations> {
  const { data, plan, key, folder, device, threads } = options;
  const values = keptValues(data, plan);
  const row = values.reduce((a, b) => a + b, 0);
  const [path, facts] = [join(folder, 'views.f32'), join(folder, 'views.json')];
  const known = existsSync(facts) ? schema.safeParse(await readJson(facts)) : undefined;
  const failed = known?.data?.key === key ? known.data.failed : await compute(options, row, path);
  if (known?.data?.key !== key) await writeAtomic(facts, `${JSON.stringify({ format: 1, key, failed })}\n`);
  const missing = new Map(failed.map(failure => [failure.index, failure]));
  const file = await open(path, 'r');

  /** The rows of a view, cut into the tensors. */
  async function read(indices: Int32Array, view: number): Promise<Float32Array[]> {
    const parts = values.map(length => new Float32Array(length * indices.length));
    const one = new Float32Array(row);
    for (const [i, index] of indices.entries()) {
      await readRow(file, one, view * data.files.length + index);
      let at = 0;
      for (const [p, length] of values.entries()) {
        parts[p].set(one.subarray(at, at + length), i * length);
        at += length;
      }
    }
    return parts;
  }

  async function* batches({ indices, batchSize, epoch }: SourceRequest): AsyncGenerator<SourceBatch> {
    for (let start = 0; start < indices.length; start += batchSize) {
      const asked = indices.subarray(start, start + batchSize);
      const there = asked.filter(index => !missing.has(index));
      const inputs: Record<string, TensorData> = {};
      for (const [name, view] of [['weak', 0] as const, ['strong', 1 + (epoch % plan.cachedViews)] as const]) {
        (await read(there, view)).forEach((part, p) => {
          inputs[`${name}.${p}`] = part;
        });
      }
      yield { indices: there, inputs, failed: failed.filter(({ index }) => asked.includes(index)) };
    }
  }

  const embedAll: EmbedAll = async (weights, onProgress) => {
    const count = data.files.length;
    const width = data.config.projection_dim;
    const readable = Int32Array.from(data.files.keys()).filter(index => !missing.has(index));
    const features = new Float32Array(readable.length * width);
    const graph = teacherPart(data.config, plan, BATCH);
    const session = await compile(graph, { device, threads, frozen: 'cuda' });
    try {
      await session.setState(
        Object.fromEntries(
          [...graph.inputs.keys()]
            .filter(name => !name.startsWith('cut.'))
            .map(name => [name, weights[name.slice(name.indexOf('.') + 1)]]),
        ),
      );
      for (let start = 0; start < readable.length; start += BATCH) {
        const indices = readable.subarray(start, start + BATCH);
        const parts = await read(indices, 0);
        const feeds = parts.map((part, p) => {
          const whole = new Float32Array(values[p] * BATCH);
          whole.set(part);
          return [`cut.${p}`, whole] as const;
        });
        const { embedding } = await session.run(Object.fromEntries(feeds));
        features.set((embedding as Float32Array).subarray(0, indices.length * width), start * width);
        onProgress?.(Math.min(start + BATCH, readable.length), count);
      }
    } finally {
      await session.dispose();
    }
    return [readable, features];
  };

  return { batches, embedAll, dispose: () => file.close() };
}

/** Computes all views into the file, which has its name only when it is complete; the images that cannot be read. */
async function compute(options: ActivationOptions, row: number, path: string): Promise<Failure[]> {
  const { data, plan, seed, workers, cacheBytes, folder, device, threads, onProgress } = options;
  const { config, preprocess, root, files } = data;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const bytes = activationBytes(data, plan);
  const { bavail, bsize } = await statfs(folder);
  if (bytes > bavail * bsize) {
    const gib = (n: number): string => `${(n / 2 ** 30).toFixed(1)} GiB`;
    throw new S3aError(
      'SPACE',
      `the activations of ${files.length} images take ${gib(bytes)}, and ${folder} has room for ${gib(bavail * bsize)}`,
      'Keep fewer views with --cached-views, freeze more with --freeze-layers, or use --tune head.',
    );
  }
  const batch = Math.min(BATCH, files.length);
  const graph = frozenPart(config, plan, batch);
  const size = sizeOf(graph.inputs.get('pixels')!.shape);
  // Laid out for products, weights would be there three times over, and of a transformer little faster (clip/encoders.ts).
  const convolves = config.vision_config.model_type === 's3a_resnet';
  const session = await compile(graph, { device, threads, frozen: convolves || 'cuda' });
  const loader = createLoader({ root, files, workers, cacheBytes, ...preprocess });
  const failed = new Map<number, Failure>();
  const one = new Float32Array(row);
  const file = await open(`${path}.part`, 'w');
  try {
    const frozen = [...graph.inputs.keys()].filter(name => name.startsWith('frozen.'));
    const weights = await startOf(data);
    const given = Object.fromEntries(frozen.map(name => [name, weights[name.slice('frozen.'.length)]]));
    await session.setState(given, { move: typeof data.weights === 'function' });
    for (let view = 0; view <= plan.cachedViews; view++) {
      const kind = view === 0 ? 'evaluation' : 'strong';
      const epoch = Math.max(view - 1, 0);
      let done = 0;
      for await (const loaded of loader.batches({ batchSize: batch, views: [kind], seed, epoch })) {
        for (const failure of loaded.failed) failed.set(failure.index, failure);
        const pixels = new Float32Array(size);
        pixels.set(loaded.views[kind]);
        const outputs = (await session.run({ pixels })) as Record<string, Float32Array>;
        for (const [i, index] of loaded.indices.entries()) {
          let at = 0;
          for (const name of graph.outputs.keys()) {
            const part = partOf(outputs[name], i, batch);
            one.set(part, at);
            at += part.length;
          }
          await file.write(bytesOf(one), 0, 4 * row, 4 * row * (view * files.length + index));
        }
        done += loaded.indices.length + loaded.failed.length;
        onProgress?.(view * files.length + done, (1 + plan.cachedViews) * files.length);
      }
    }
    await file.sync();
  } finally {
    await file.close();
    await loader.dispose();
    await session.dispose();
  }
  await rename(`${path}.part`, path);
  return [...failed.values()].sort((a, b) => a.index - b.index);
}

function partOf(part: Float32Array, i: number, batch: number): Float32Array {
  const length = part.length / batch;
  return part.subarray(i * length, (i + 1) * length);
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
