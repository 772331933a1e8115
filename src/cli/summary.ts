/** What a finished run prints. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RunSummary } from '../run/events.ts';
import { count, counted, duration, table } from './format.ts';

const MOST_CLASSES = 40;

/** The classes that were found as a table, and where everything is. */
export function showSummary({ folder, images, skipped, classes, unknown, stages }: RunSummary): string {
  const rows = classes.slice(0, MOST_CLASSES).map(({ name, count: n }) => [name, count(n)]);
  const more = classes.length > MOST_CLASSES ? `… and ${counted(classes.length - MOST_CLASSES, 'more name')}\n` : '';
  const seconds = Object.values(stages).reduce((sum, stage) => sum + (stage.skipped ? 0 : stage.seconds), 0);
  const nameless = unknown > 0 ? `, ${counted(unknown, 'image')} unknown` : '';
  const left = skipped > 0 ? `; ${count(skipped)} not used, see ${join(folder, 'skipped.jsonl')}` : '';
  const { clusters, realigned, failure } = stages.prompt?.info ?? {};
  const failed =
    failure === undefined
      ? ''
      : `The language model failed; of ${Number(clusters)} clusters were realigned: ${String(realigned) || 'none'}\n`;
  const places = ['labels.csv', 'classes.json', 'model'].filter(name => existsSync(join(folder, name)));
  return [
    classes.length > 0 ? `${table(['name', 'images'], rows)}${more}\n` : '',
    `${counted(images, 'image')}, ${counted(classes.length, 'name')}${nameless} in ${duration(seconds)}${left}\n`,
    failed,
    `Run folder: ${folder}${places.length > 0 ? ` (${places.join(', ')})` : ''}\n`,
  ].join('');
}
