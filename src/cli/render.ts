/** Progress on stderr: one line a stage, drawn again and again on a terminal, every few seconds elsewhere. */
import type { Activity, RunEvent } from '../run/events.ts';
import { bytes, count, duration, figure, printable } from './format.ts';
import type { Terminal } from './terminal.ts';

export interface Renderer {
  onEvent(event: RunEvent): void;
  /** Removes a line that is being drawn, before something else is written. */
  clear(): void;
}

const REDRAW_MS = 100;
const STAGE_WIDTH = 'prototypes'.length + 2;
const PLAIN_MS = 5000;

/** The stage that is running, and where its progress began: a resumed stage does not start at zero. */
interface Running {
  stage: Activity;
  since: number;
  from: number | undefined;
  shown: number;
}

/**
 * Shows the events of a run.
 * @param clock the time in milliseconds
 */
export function createRenderer(terminal: Terminal, clock: () => number = () => performance.now()): Renderer {
  let running: Running | undefined;
  let drawn = false;

  const clear = (): void => {
    if (drawn) terminal.err('\r\u001b[2K');
    drawn = false;
  };
  const line = (text: string): void => {
    clear();
    terminal.err(`${text}\n`);
  };
  const draw = (text: string): void => {
    terminal.err(`\r\u001b[2K${text}`);
    drawn = true;
  };
  const label = (stage: string): string => {
    const padded = stage.padEnd(STAGE_WIDTH);
    return terminal.colours ? `\u001b[1m${padded}\u001b[22m` : padded;
  };
  const startOf = (stage: Activity): Running => ({
    stage,
    since: clock(),
    from: undefined,
    shown: Number.NEGATIVE_INFINITY,
  });

  function progress({ stage, done, total, unit, detail = {} }: Extract<RunEvent, { type: 'progress' }>): void {
    if (running?.stage !== stage) running = startOf(stage);
    const now = clock();
    if (running.from === undefined) {
      running.from = done;
      running.since = now;
    }
    const wait = terminal.redraws ? REDRAW_MS : PLAIN_MS;
    // Elsewhere than on a terminal the first line comes after a while, so that short stages have one line, their last.
    if (!terminal.redraws && running.shown === Number.NEGATIVE_INFINITY) running.shown = now;
    if (now - running.shown < wait) return;
    running.shown = now;
    const share = total > 0 ? `${String(Math.floor((100 * done) / total)).padStart(3)}%` : '';
    const amount = unit === 'bytes' ? bytes : count;
    const parts = [`${share} ${amount(done)}/${amount(total)}`, ...figures(detail)];
    const left = remaining(running, now, done, total);
    if (left !== undefined) parts.push(`${duration(left)} left`);
    const text = parts.join(', ');
    if (terminal.redraws) draw(label(stage) + text.slice(0, Math.max(0, terminal.width() - STAGE_WIDTH - 1)));
    else line(stage.padEnd(STAGE_WIDTH) + text);
  }

  return {
    clear,
    onEvent(event) {
      if (event.type === 'warning') return line(`warning: ${printable(event.message)}`);
      if (event.type === 'note') return line(printable(event.message));
      if (event.type === 'progress') return progress(event);
      const { stage, state, seconds, info = {} } = event;
      if (state === 'start') {
        running = startOf(stage);
        if (terminal.redraws) draw(`${label(stage)}…`);
        return;
      }
      running = undefined;
      const parts = [...figures(info)];
      if (state === 'skip') parts.unshift('done before');
      else if (seconds !== undefined) parts.push(duration(seconds));
      line(label(stage) + parts.join(', '));
    },
  };
}

/** Seconds to go at the rate so far, once there is one. */
function remaining({ from = 0, since }: Running, now: number, done: number, total: number): number | undefined {
  const elapsed = (now - since) / 1000;
  if (done <= from || elapsed < 1 || done >= total) return undefined;
  return ((total - done) * elapsed) / (done - from);
}

/** `loss 0.512`, for whatever is a number or a short text that is not empty. */
function figures(values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(values)
    .filter(
      ([, value]) => typeof value === 'number' || (typeof value === 'string' && value.length > 0 && value.length <= 24),
    )
    .map(([name, value]) => `${words(name)} ${figure(value)}`);
}

/** `meanSize` → `mean size`. */
function words(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`).replaceAll('_', ' ');
}
