/** What a training tells while it runs, and where it runs. */
import type { StepMetrics } from './metrics.ts';

/** What the reporter hears. */
export type TrainProgress =
  | { kind: 'note'; message: string }
  /** `logged`: metrics.jsonl has a line of it. */
  | ({ kind: 'step'; steps: number; epochs: number; secondsLeft: number; logged: boolean } & StepMetrics)
  /** Views of which activations are kept, before the first step. */
  | { kind: 'activations'; done: number; total: number }
  | { kind: 'renew'; epoch: number; done: number; total: number };

export interface TrainPlace {
  /** Where `metrics.jsonl` and `checkpoints/` are; a training that was begun there goes on. */
  folder: string;
  /** Called after each step and each batch of a renewal. */
  report?: (progress: TrainProgress) => void;
  /** Ends the training after the step under way, or after all steps of a call under way, with a checkpoint. */
  signal?: AbortSignal;
}
