/** Figures as JSON lines in a file. */
import { messageOf } from '../errors.ts';
import { createJsonlWriter, type JsonlWriter } from '../io/jsonl.ts';
import { asTexts, finite, type Tracker, type TrackerHooks } from './tracker.ts';

/**
 * Appends lines to a file: `{"step": …, …figures}`, `{"hparams": {…}}` and `{"text": …, "name": …}`; the file appears with its
 * first line.
 */
export function createJsonlTracker(path: string, { onWarning }: TrackerHooks = {}): Tracker {
  let writer: JsonlWriter | undefined;
  let ended = false;
  const write = (line: unknown): void => {
    if (ended) return;
    try {
      writer ??= createJsonlWriter(path);
      writer.write(line);
    } catch (error) {
      ended = true;
      onWarning?.(`${messageOf(error)}; figures are not written there any more`);
    }
  };
  return {
    log: (step, values) => write({ step, ...Object.fromEntries(finite(step, values)) }),
    hparams: values => write({ hparams: Object.fromEntries(asTexts(values)) }),
    text: (name, text) => write({ name, text }),
    close: async () => {
      ended = true;
      try {
        writer?.close();
      } catch {
        // A network disk may say only now that it is gone.
      }
      writer = undefined;
    },
  };
}
