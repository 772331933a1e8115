/** The ONNX files of a model in the layout of transformers.js: both towers apart and together, in several precisions. */
import { join } from 'node:path';
import type { ClipConfig } from '../towers/config.ts';
import { writeGraph } from './file.ts';
import { toFloat16 } from './float16.ts';
import { bytesOf, type Graph, type Weights } from './graph.ts';
import { toInt8 } from './int8.ts';
import { jointGraph, textGraph, visionGraph } from './towers.ts';

export const PRECISIONS = ['float32', 'float16', 'int8'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** What transformers.js puts behind a file's name. */
const SUFFIXES: Record<Precision, string> = { float32: '', float16: '_fp16', int8: '_quantized' };
const CHANGES: Record<Precision, (graph: Graph) => Graph> = {
  float32: graph => graph,
  float16: toFloat16,
  int8: toInt8,
};

export interface ExportOptions {
  /** Most bytes of weights in one file; default 1.8 GB. */
  limit?: number;
  /** Called as files grow, with the bytes of weights written and those to write in all. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Writes the towers into a folder: `vision_model.onnx`, `text_model.onnx` and `model.onnx`, which is what transformers.js's
 * zero-shot-image-classification loads, with `_fp16` or `_quantized` before the ending for half precision and 8 bits.
 * @returns how many further files each has beside it, by file name, where there are any
 * @throws S3aError WEIGHTS, WRITE
 */
export async function exportOnnx(
  folder: string,
  config: ClipConfig,
  weights: Weights,
  precisions: readonly Precision[],
  { limit, onProgress }: ExportOptions = {},
): Promise<Record<string, number>> {
  const [vision, text] = [visionGraph(config, weights), textGraph(config, weights)];
  const files: [string, Graph][] = precisions.flatMap(precision => {
    const [v, t] = [vision, text].map(CHANGES[precision]);
    const suffix = SUFFIXES[precision];
    return [
      [`vision_model${suffix}.onnx`, v],
      [`text_model${suffix}.onnx`, t],
      [`model${suffix}.onnx`, jointGraph(config, weights, v, t)],
    ] as [string, Graph][];
  });
  const total = files.flatMap(([, { weights: all }]) => all).reduce((sum, weight) => sum + bytesOf(weight), 0);
  let done = 0;
  const onWritten = (bytes: number): void => {
    done += bytes;
    onProgress?.(done, total);
  };
  const beside: Record<string, number> = {};
  for (const [name, graph] of files) {
    const count = await writeGraph(join(folder, name), graph, { limit, onWritten });
    if (count > 0) beside[name] = count;
  }
  return beside;
}

/**
 * Writes `onnx/vision_model.onnx` into a model folder, where transformers.js's CLIPVisionModelWithProjection looks for it.
 * @throws S3aError WEIGHTS, WRITE
 */
export async function exportImageTower(folder: string, config: ClipConfig, weights: Weights): Promise<void> {
  await writeGraph(join(folder, 'onnx', 'vision_model.onnx'), visionGraph(config, weights));
}
