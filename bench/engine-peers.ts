/** Other runtimes for the embedding: transformers.js, and plain onnxruntime, both on the model that s3a exports. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportImageTower } from '../src/clip/export/onnx.ts';
import { clipConfigText } from '../src/clip/towers/config.ts';
import { type Model, randomWeights } from './engine-work.ts';
import { secondsOf } from './report.ts';

/** Does pieces of work by name. */
export interface WorkPeer {
  readonly name: string;
  /** Runs a piece of work and gives the seconds of each run. */
  run(work: string, count: number): Promise<number[]>;
  close(): void | Promise<void>;
}

/**
 * Opens the exported image tower in both runtimes, with the same number of threads. Transformers.js must be installed (a
 * devDependency); where it is not, there are no such peers.
 */
export async function exportPeers(model: Model, threads: number): Promise<WorkPeer[]> {
  const transformers = await import('@huggingface/transformers').catch(() => undefined);
  if (!transformers) return [];
  const onnxruntime = await import('onnxruntime-node');
  const { config, batch } = model;
  const folder = await mkdtemp(join(tmpdir(), 's3a-bench-'));
  try {
    const path = join(folder, 'model');
    await mkdir(path);
    await exportImageTower(path, config, randomWeights(model));
    await writeFile(join(path, 'config.json'), clipConfigText(config));
    const size = config.vision_config.image_size;
    const shape = [batch, 3, size, size];
    const images = new Float32Array(batch * 3 * size * size).fill(0.5);
    const session_options = { intraOpNumThreads: threads, logSeverityLevel: 4 as const };

    const session = await onnxruntime.InferenceSession.create(join(path, 'onnx/vision_model.onnx'), session_options);
    const fed = { pixel_values: new onnxruntime.Tensor('float32', images, shape) };
    transformers.env.allowRemoteModels = false;
    transformers.env.localModelPath = folder;
    const tower = await transformers.CLIPVisionModelWithProjection.from_pretrained('model', {
      dtype: 'fp32',
      device: 'cpu',
      session_options,
    });
    const pixel_values = new transformers.Tensor('float32', images, shape);
    return [
      {
        name: `@huggingface/transformers ${transformers.env.version}`,
        run: (_, count) => secondsOf(count, () => tower({ pixel_values })),
        close: async () => void (await tower.dispose()),
      },
      {
        name: `onnxruntime-node ${onnxruntime.env.versions.node ?? ''} on the export`,
        run: (_, count) => secondsOf(count, () => session.run(fed)),
        close: () => session.release(),
      },
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}
