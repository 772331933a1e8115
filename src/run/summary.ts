/** What a run has come to, in short. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { readJson } from '../io/json.ts';
import type { RunSummary } from './events.ts';
import type { Run } from './store.ts';

const classesSchema = z.object({
  names: z.array(z.string()),
  counts: z.array(z.number()),
  unknown: z.int().default(0),
});

/** Counts, classes (none before the first label stage) and the stages of this process. */
export async function summarise(run: Run): Promise<RunSummary> {
  const embedded = run.manifest.stages.embed?.info ?? {};
  const path = run.path('classes.json');
  const { names, counts, unknown } = existsSync(path)
    ? classesSchema.parse(await readJson(path))
    : { names: [], counts: [], unknown: 0 };
  return {
    folder: run.folder,
    images: Number(embedded.images ?? 0),
    skipped: Number(embedded.skipped ?? 0),
    classes: names.map((name, i) => ({ name, count: counts[i] })),
    unknown,
    stages: { ...run.outcomes } as RunSummary['stages'],
  };
}
