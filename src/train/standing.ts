/** Where a training stands: taken up from a checkpoint or begun, kept on the way, and left when it is stopped. */
import type { Session, Shape } from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import { resumeTraining, saveTraining, type TrainingState } from './checkpoint.ts';
import type { MetricsFile } from './metrics.ts';

/** What changes from step to step and from epoch to epoch; the states of its session are the rest of a training. */
export type Standing = Pick<TrainingState, 'step' | 'epoch' | 'stepInEpoch' | 'structural'>;

/** What tells a training from others, and the place of its checkpoints. */
export interface Kept {
  /** The folder of the checkpoints. */
  readonly folder: string;
  /** Shapes of all states that a checkpoint holds. */
  readonly shapes: Readonly<Record<string, Shape>>;
  /** Hash of all that the training depends on. */
  readonly key: string;
}

export interface TakenUp {
  readonly at: Standing;
  /** Whether a checkpoint has it. */
  readonly isSaved: boolean;
  /** Length of metrics.jsonl there. */
  readonly metricsBytes: number;
  /** Gives the states of the checkpoint away, so that they are held no longer than the caller does; none for a new training. */
  takeStates(): Record<string, Float32Array>;
}

/**
 * The training to go on with, or a new one.
 * @param structural the labels that a new one begins with
 * @param warn told of each damaged checkpoint that was passed over
 * @throws S3aError CHECKPOINT as `resumeTraining`
 */
export async function takeUp(
  { folder, shapes, key }: Kept,
  structural: Int32Array,
  warn: (message: string) => void,
): Promise<TakenUp> {
  const saved = await resumeTraining(folder, shapes, key, warn);
  const { weights = {}, step = 0, epoch = 0, stepInEpoch = 0, metricsBytes = 0 } = saved ?? {};
  let states: Record<string, Float32Array> = weights;
  return {
    at: { step, epoch, stepInEpoch, structural: saved?.structural ?? structural },
    isSaved: saved !== undefined,
    metricsBytes,
    takeStates() {
      const given = states;
      states = {};
      return given;
    },
  };
}

export interface Keeper {
  /** Writes a checkpoint. */
  save(at: Standing): Promise<void>;
  /** Ends the training with a checkpoint of where it stands; throws S3aError ABORTED. */
  stop(at: Standing): Promise<never>;
}

/** What writes the checkpoints of a training that was taken up. */
export function createKeeper(
  { folder, shapes, key }: Kept,
  { at, isSaved }: TakenUp,
  session: Pick<Session, 'getState'>,
  metrics: Pick<MetricsFile, 'bytes'>,
): Keeper {
  let savedStep = isSaved ? at.step : -1;
  // One at a time: all weights with their moments, copied out of the session at once, would double the memory of a step.
  const weights = async (name: string): Promise<Float32Array> => (await session.getState([name]))[name] as Float32Array;
  async function save(now: Standing): Promise<void> {
    await saveTraining(folder, { key, ...now, metricsBytes: metrics.bytes(), weights }, shapes);
    savedStep = now.step;
  }
  return {
    save,
    async stop(now) {
      if (now.step !== savedStep) await save(now);
      throw stopped(now.step);
    },
  };
}

/** The end of a training that was told to stop. */
export function stopped(step: number): S3aError {
  return new S3aError('ABORTED', `training was stopped after step ${step}`, 'Start it again to go on from there.');
}
