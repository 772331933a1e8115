/**
 * Activations at the end of the frozen part, computed once for each image and kept in a file: of the evaluation view for the
 * teacher, and of some strong views for the student, which takes them in turn, one an epoch.
 *
 * With images that are square the evaluation view is the weak view. Where they are not, the weak view would be a
 * random crop along the longer side, which is given up here. Strong view v is the one that epoch v would have drawn.
 */
import { compile, type TensorData } from '../engine/index.ts';
import {
  type ActivationFile,
  type ActivationOptions,
  BATCH,
  keptValues,
  openActivationFile,
} from './activation-file.ts';
import type { SourceBatch, SourceRequest, TrainSource } from './source.ts';
import { teacherPart } from './tower.ts';
import type { EmbedAll } from './whole-tower.ts';

export interface Activations extends TrainSource {
  /** Embeddings of all images that can be read, by the teacher's weights. */
  readonly embedAll: EmbedAll;
}

/**
 * The activations of all images, computed when `folder` does not hold them; dispose of them when done.
 * @throws S3aError SPACE when the disk has no room for them
 */
export async function createActivations(options: ActivationOptions): Promise<Activations> {
  const file = await openActivationFile(options);
  const missing = new Set(file.failed.map(({ index }) => index));
  const values = keptValues(options.data, options.plan);
  const read: ReadViews = (indices, view) => readViews(file, values, indices, view);
  return {
    batches: request => batchesOf(options, file, missing, read, request),
    embedAll: embedder(options, missing, values, read),
    dispose: () => file.close(),
  };
}

/** Rows of a view, cut into the tensors at which the tower is cut: of each, the values of all images. */
type ReadViews = (indices: Int32Array, view: number) => Promise<Float32Array[]>;

async function readViews(
  file: ActivationFile,
  values: readonly number[],
  indices: Int32Array,
  view: number,
): Promise<Float32Array[]> {
  const parts = values.map(length => new Float32Array(length * indices.length));
  const row = new Float32Array(values.reduce((a, b) => a + b, 0));
  for (const [i, index] of indices.entries()) {
    await file.read(row, view, index);
    let at = 0;
    for (const [p, length] of values.entries()) {
      parts[p].set(row.subarray(at, at + length), i * length);
      at += length;
    }
  }
  return parts;
}

async function* batchesOf(
  { plan }: ActivationOptions,
  { failed }: ActivationFile,
  missing: ReadonlySet<number>,
  read: ReadViews,
  { indices, batchSize, epoch }: SourceRequest,
): AsyncGenerator<SourceBatch> {
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

/** What embeds all images by the teacher's trained part, which is compiled for each pass. */
function embedder(
  { data, plan, device, threads }: ActivationOptions,
  missing: ReadonlySet<number>,
  values: readonly number[],
  read: ReadViews,
): EmbedAll {
  return async (weights, onProgress) => {
    const width = data.config.projection_dim;
    const readable = Int32Array.from(data.files.keys()).filter(index => !missing.has(index));
    const features = new Float32Array(readable.length * width);
    const graph = teacherPart(data.config, plan, BATCH);
    const session = await compile(graph, { device, threads, frozen: 'cuda' });
    try {
      const states = [...graph.inputs.keys()].filter(name => !name.startsWith('cut.'));
      await session.setState(
        Object.fromEntries(states.map(name => [name, weights[name.slice(name.indexOf('.') + 1)]])),
      );
      for (let start = 0; start < readable.length; start += BATCH) {
        const indices = readable.subarray(start, start + BATCH);
        const feeds = (await read(indices, 0)).map((part, p) => {
          const whole = new Float32Array(values[p] * BATCH);
          whole.set(part);
          return [`cut.${p}`, whole] as const;
        });
        const { embedding } = await session.run(Object.fromEntries(feeds));
        features.set((embedding as Float32Array).subarray(0, indices.length * width), start * width);
        onProgress?.(Math.min(start + BATCH, readable.length), data.files.length);
      }
    } finally {
      await session.dispose();
    }
    return [readable, features];
  };
}
