/** What a run reports while it works, and what it gives back when it is done. */
import type { TextModel } from '../llm/text-model.ts';
import type { Tracker } from '../track/tracker.ts';

/** The stages of a run in their order; `discover` ends with `realign`. */
export const STAGES = [
  'scan',
  'embed',
  'prototypes',
  'cluster',
  'vote',
  'prompt',
  'realign',
  'train',
  'label',
] as const;

export type StageName = (typeof STAGES)[number];

/** What can make progress: a stage, the download of a model, or a command that works on a run that is done. */
export type Activity = StageName | 'download' | 'export' | 'evaluate';

/** A step of the method that can be run alone on a run folder. */
export type StepName = 'embed' | 'cluster' | 'vote' | 'prompt' | 'realign';

export type RunEvent =
  | {
      readonly type: 'stage';
      readonly stage: StageName;
      /** `skip`: its artefact was there already. */
      readonly state: 'start' | 'skip' | 'end';
      /** What it took, at its end; what it took then, where it is skipped. */
      readonly seconds?: number;
      /** What it says of itself at its end, as in manifest.json. */
      readonly info?: Readonly<Record<string, unknown>>;
    }
  | {
      readonly type: 'progress';
      readonly stage: Activity;
      readonly done: number;
      readonly total: number;
      /** What is counted; without it, items. */
      readonly unit?: 'bytes';
      /** A few figures to show beside the count, such as a loss. */
      readonly detail?: Readonly<Record<string, number | string>>;
    }
  | { readonly type: 'note'; readonly message: string }
  | { readonly type: 'warning'; readonly message: string };

export interface RunHooks {
  /** Told of stages, progress, notes and warnings, synchronously; what it throws ends the run. */
  readonly onEvent?: (event: RunEvent) => void;
  /**
   * Aborting ends the run at the next safe place; what is finished stays and the run can be resumed. The promise is rejected with the
   * signal's reason, or in the middle of a training with S3aError ABORTED.
   */
  readonly signal?: AbortSignal;
  /**
   * Lists phrases in the place of what `llm` says, as a language model does. Answers are kept under its `id`. It is not part of the
   * settings: a run that goes on is given it again. It is not disposed of.
   */
  readonly textModel?: TextModel;
  /** Gets the settings and figures of a training, besides those that `track` names, and is closed at its end. */
  readonly tracker?: Tracker;
}

export interface RunSummary {
  /** The run folder. */
  folder: string;
  /** Images that were used. */
  images: number;
  /** Images that were not, each with its reason in skipped.jsonl. */
  skipped: number;
  /** The names that label an image, the commonest first. */
  classes: { name: string; count: number }[];
  /** Images without a name. */
  unknown: number;
  /** What each stage took and says of itself, as in manifest.json. */
  stages: Record<string, { seconds: number; skipped: boolean; info?: Record<string, unknown> }>;
}
