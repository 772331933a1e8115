/** metrics.jsonl of a training: one line a logged step, cut back to a checkpoint when training goes on from there. */
import { existsSync, statSync, truncateSync } from 'node:fs';
import { writeError } from '../io/atomic-write.ts';
import { createJsonlWriter, type JsonlWriter } from '../io/jsonl.ts';

export interface StepMetrics {
  epoch: number;
  /** Counted from 1 over all epochs. */
  step: number;
  loss: number;
  /** The mean cross-entropies before their weights. */
  instance: number;
  structural: number;
  /** Share of the images whose teacher is sure enough. */
  maskShare: number;
  /** Share of the images whose teacher agrees with their structural label. */
  agreement: number;
  /** 0 where mixed precision skipped the step. */
  gradientNorm: number;
  /** Learning rate of the last layer. */
  lr: number;
  emaDecay: number;
  /** Of mixed precision, at this step. */
  lossScale?: number;
  /** The only value that differs from run to run. */
  imagesPerSecond: number;
}

/** `M` is what a line holds. */
export interface MetricsFile<M extends object = StepMetrics> extends Pick<JsonlWriter, 'close'> {
  write(metrics: M): void;
  /** Length of the file in bytes. */
  bytes(): number;
}

/**
 * Opens metrics.jsonl for appending after its first `bytes` bytes; what follows them is dropped.
 * @throws S3aError WRITE
 */
export function openMetrics<M extends object = StepMetrics>(path: string, bytes: number): MetricsFile<M> {
  try {
    if (existsSync(path) && statSync(path).size > bytes) truncateSync(path, bytes);
  } catch (error) {
    throw writeError(path, error);
  }
  const { write, close } = createJsonlWriter(path);
  return { write, close, bytes: () => statSync(path).size };
}
