/** Where a training reports its figures to, besides the metrics.jsonl that it always writes. */
import { S3aError } from '../errors.ts';

/** How what was tracked came to its end; `stopped` may go on later. */
export type Outcome = 'finished' | 'stopped' | 'failed';

/** What a training tells its figures to. */
export interface Tracker {
  /**
   * Records the figures of a step; steps come in rising order. Returns at once: a disk or server that fails is told as one warning
   * and never ends the work. Figures that are not finite are left out, and so is everything after `close`.
   *
   * Throws S3aError VALUE for a step that is no whole number from 0 on.
   */
  log(step: number, values: Readonly<Record<string, number>>): void;
  /** Records settings, by name. */
  hparams(values: Readonly<Record<string, unknown>>): void;
  /** Records a text under a name. */
  text(name: string, text: string): void;
  /** Writes what is left and ends; never throws, and a second call changes nothing. */
  close(outcome?: Outcome): Promise<void>;
}

export interface TrackerHooks {
  /** Told in one sentence, once, when nothing more can be recorded. */
  readonly onWarning?: (message: string) => void;
  /** The time in milliseconds; default that of the system. */
  readonly now?: () => number;
}

/** Several trackers as one. */
export function allOf(trackers: readonly Tracker[]): Tracker {
  return {
    log: (step, values) => trackers.forEach(tracker => void tracker.log(step, values)),
    hparams: values => trackers.forEach(tracker => void tracker.hparams(values)),
    text: (name, text) => trackers.forEach(tracker => void tracker.text(name, text)),
    close: async outcome => {
      await Promise.all(trackers.map(tracker => tracker.close(outcome)));
    },
  };
}

/** The finite ones among the figures of a step. Throws S3aError VALUE for a step that is none. */
export function finite(step: number, values: Readonly<Record<string, number>>): [name: string, value: number][] {
  if (!(Number.isSafeInteger(step) && step >= 0)) throw new S3aError('VALUE', `${step} is no step to track`);
  return Object.entries(values).filter(([, value]) => Number.isFinite(value));
}

/** Settings as short texts: what is not set is left out, and all but texts are JSON. */
export function asTexts(values: Readonly<Record<string, unknown>>): [name: string, text: string][] {
  return Object.entries(values).flatMap(([name, value]): [string, string][] => {
    if (value === undefined || value === null) return [];
    return [[name, typeof value === 'string' ? value : JSON.stringify(value)]];
  });
}
