/** Figures for an MLflow server, sent in the background. */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.ts';
import { type ApiOptions, createMlflowApi, type MlflowPlace } from './mlflow-api.ts';
import { type MlflowRun, openMlflowRun, savedRun } from './mlflow-run.ts';
import { asTexts, finite, type Outcome, type Tracker, type TrackerHooks } from './tracker.ts';

export interface MlflowOptions extends TrackerHooks, Omit<ApiOptions, 'signal'> {
  /** How long figures are gathered before they are sent, in milliseconds; default 2 s. */
  readonly flushMs?: number;
  /** The longest that `close` waits for the server, in milliseconds; default 30 s. */
  readonly closeMs?: number;
}

interface Metric {
  key: string;
  value: number;
  timestamp: number;
  step: number;
}
interface Pair {
  key: string;
  value: string;
}

// What one log-batch request may hold, as MLflow's REST API gives it.
const MAX_METRICS = 1000;
const MAX_PAIRS = 100;
const MAX_KEY = 250;
// Older servers refuse longer settings.
const MAX_PARAM = 500;
const MAX_TAG = 5000;
/** Figures that wait for a slow server; a training of an hour at ten figures a second is less. */
const MAX_WAITING = 100_000;
const STATUS: Readonly<Record<Outcome, string>> = { finished: 'FINISHED', stopped: 'KILLED', failed: 'FAILED' };

/**
 * Sends figures to a run on an MLflow server; `file` keeps the run's id, so that a training that goes on goes on there. Steps
 * that the server has are not sent again.
 */
export function createMlflowTracker(place: MlflowPlace, file: string, options: MlflowOptions = {}): Tracker {
  const { onWarning, now = Date.now, flushMs = 2000, closeMs = 30_000, ...asking } = options;
  const stop = new AbortController();
  const api = createMlflowApi(place, { ...asking, signal: stop.signal });
  let metrics: Metric[] = [];
  let params: Pair[] = [];
  let tags: Pair[] = [];
  let run: MlflowRun | undefined;
  let state: 'open' | 'ended' | 'dead' = 'open';
  let sending: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closing: Promise<void> | undefined;

  const die = (why: string): void => {
    if (state === 'dead') return;
    state = 'dead';
    [metrics, params, tags] = [[], [], []];
    onWarning?.(`${why}; it gets no more figures, and metrics.jsonl has them all`);
  };
  const send = async (): Promise<void> => {
    try {
      if (!run) {
        run = await openMlflowRun(api, place, file, now());
        const { params: there, lastStep } = run;
        params = params.filter(({ key }) => !there.has(key));
        metrics = metrics.filter(({ step }) => step > lastStep);
      }
      while (metrics.length + params.length + tags.length > 0) {
        const batch = {
          metrics: metrics.slice(0, MAX_METRICS - 2 * MAX_PAIRS),
          params: params.slice(0, MAX_PAIRS),
          tags: tags.slice(0, MAX_PAIRS),
        };
        await api.post('runs/log-batch', { run_id: run.id, ...batch });
        metrics = metrics.slice(batch.metrics.length);
        params = params.slice(batch.params.length);
        tags = tags.slice(batch.tags.length);
      }
    } catch (error) {
      die(stop.signal.aborted ? `MLflow at ${new URL(place.uri).host} is too slow` : messageOf(error));
    }
  };
  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    sending ??= send().finally(() => {
      sending = undefined;
    });
    return sending;
  };
  const queued = (): void => {
    if (metrics.length > MAX_WAITING) die(`MLflow at ${new URL(place.uri).host} is too slow`);
    if (state !== 'open') return;
    if (metrics.length >= MAX_METRICS / 2) void flush();
    // A process that has nothing else to do ends without it.
    else timer ??= setTimeout(() => void flush(), flushMs).unref();
  };
  const end = async (outcome: Outcome): Promise<void> => {
    // What came while a request was under way needs another one.
    while (state === 'ended' && (sending || metrics.length + params.length + tags.length > 0)) await flush();
    const run_id = run?.id ?? (await savedRun(place, file));
    if (state !== 'ended' || run_id === undefined) return;
    try {
      await api.post('runs/update', { run_id, status: STATUS[outcome], end_time: now() });
    } catch (error) {
      die(messageOf(error));
    }
  };
  return {
    log(step, values) {
      const known = finite(step, values);
      if (state !== 'open' || (run && step <= run.lastStep)) return;
      const timestamp = Math.round(now());
      for (const [key, value] of known) metrics.push({ key: keyOf(key), value, timestamp, step });
      queued();
    },
    hparams(values) {
      if (state !== 'open') return;
      for (const [key, text] of asTexts(values)) {
        if (!run?.params.has(keyOf(key))) params.push({ key: keyOf(key), value: cut(text, MAX_PARAM) });
      }
      queued();
    },
    text(name, text) {
      if (state !== 'open') return;
      tags.push({ key: keyOf(name), value: cut(text, MAX_TAG) });
      queued();
    },
    close(outcome = 'finished') {
      closing ??= (async () => {
        clearTimeout(timer);
        if (state === 'open') state = 'ended';
        const over = new AbortController();
        const late = sleep(closeMs, undefined, { signal: over.signal }).then(
          () => stop.abort(new Error('too slow')),
          () => {},
        );
        await end(outcome);
        over.abort();
        await late;
        // A request that nobody waits for any more.
        stop.abort(new Error('closed'));
      })();
      return closing;
    },
  };
}

/** A name with only the characters that MLflow allows in it. */
function keyOf(name: string): string {
  return name.replace(/[^\w .:/-]/g, '_').slice(0, MAX_KEY);
}

function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
