/** Figures for TensorBoard: event files in a folder, a new one each time that a training goes on. */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { writeError } from '../io/atomic-write.ts';
import { type EventContent, event, record } from './event-file.ts';
import { asTexts, finite, type Tracker, type TrackerHooks } from './tracker.ts';

/**
 * Writes scalars and texts to a new event file in `folder`, which appears with its first figure.
 *
 * The first step makes TensorBoard forget what earlier files of the folder hold from that step on, so that a training that goes on
 * from a checkpoint shows no step twice. The files hold wall times, so their bytes differ from run to run.
 */
export function createTensorboardTracker(folder: string, { onWarning, now = Date.now }: TrackerHooks = {}): Tracker {
  let fd: number | undefined;
  let ended = false;
  let step = 0;
  // Texts wait for the first step, which says where the training stands.
  let waiting: { name: string; text: string }[] = [];
  const write = (contents: readonly EventContent[]): void => {
    const seconds = now() / 1000;
    try {
      fd ??= create(folder, now());
      const bytes = Buffer.concat(contents.map(content => record(event(seconds, content))));
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    } catch (error) {
      ended = true;
      onWarning?.(`${messageOf(writeError(folder, error))}; TensorBoard gets no more figures`);
    }
  };
  const begin = (first: number): void => {
    step = first;
    const texts = waiting.map((one): EventContent => ({ kind: 'text', step, ...one }));
    waiting = [];
    write([{ kind: 'version' }, { kind: 'start', step }, ...texts]);
  };
  const text = (name: string, content: string): void => {
    if (ended) return;
    if (fd === undefined) waiting.push({ name, text: content });
    else write([{ kind: 'text', step, name, text: content }]);
  };
  return {
    log(at, values) {
      const known = finite(at, values);
      if (ended || known.length === 0) return;
      if (fd === undefined) begin(at);
      if (ended) return;
      step = at;
      write([{ kind: 'scalars', step, values: known }]);
    },
    hparams: values => text('hparams', markdown(asTexts(values))),
    text,
    async close() {
      if (!ended && fd === undefined && waiting.length > 0) begin(0);
      ended = true;
      if (fd !== undefined) closeQuietly(fd);
      fd = undefined;
    },
  };
}

/** What could not be written was told when it was written. */
function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // A network disk may say only now that it is gone.
  }
}

let files = 0;

/** TensorBoard reads the files of a folder in the order of their names. */
function create(folder: string, milliseconds: number): number {
  mkdirSync(folder, { recursive: true });
  const time = (milliseconds / 1000).toFixed(3).padStart(14, '0');
  files++;
  return openSync(join(folder, `events.out.tfevents.${time}.s3a.${process.pid}.${files}`), 'wx');
}

function markdown(rows: readonly (readonly [string, string])[]): string {
  const cell = (text: string): string =>
    text
      .replaceAll('\\', '\\\\')
      .replaceAll('|', '\\|')
      .replace(/\s*\n\s*/g, ' ');
  return ['| setting | value |', '|---|---|', ...rows.map(([name, text]) => `| ${cell(name)} | ${cell(text)} |`)].join(
    '\n',
  );
}
