/** What a MUST training tells of its steps. */
import type { TensorData } from '../../engine/index.ts';
import type { Rates } from '../schedule.ts';
import type { Standing } from '../standing.ts';

/** A line of metrics.jsonl. */
export interface MustMetrics {
  epoch: number;
  /** Counted from 1 over all epochs. */
  step: number;
  loss: number;
  /** The losses before their weights. */
  instance: number;
  fairness: number;
  reconstruction: number;
  alignment: number;
  /** Share of the images whose teacher is sure enough. */
  maskShare: number;
  gradientNorm: number;
  /** Learning rate of the last layer. */
  lr: number;
  emaDecay: number;
  /** The only value that differs from run to run. */
  imagesPerSecond: number;
}

/** What the reporter hears. */
export type MustProgress =
  | { kind: 'note'; message: string }
  | ({ kind: 'step'; steps: number; epochs: number; secondsLeft: number } & MustMetrics);

/**
 * The line of the step that was just made.
 * @param outputs of the graph of `mustProgram`
 */
export function mustLine(
  outputs: Readonly<Record<string, TensorData>>,
  { epoch, step }: Standing,
  rates: Rates,
  imagesPerSecond: number,
): MustMetrics {
  const value = (name: string): number => Number(outputs[name][0]);
  return {
    epoch,
    step,
    loss: value('loss'),
    instance: value('instanceLoss'),
    fairness: value('fairnessLoss'),
    reconstruction: value('reconstructionLoss'),
    alignment: value('alignmentLoss'),
    maskShare: value('maskShare'),
    gradientNorm: value('gradientNorm'),
    lr: rates.learningRate,
    emaDecay: rates.emaDecay,
    imagesPerSecond,
  };
}
