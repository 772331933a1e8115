/** A run on an MLflow server: found again or made, and ended. */
import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { z } from 'zod';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import { type MlflowApi, MlflowError, type MlflowPlace } from './mlflow-api.ts';

/** A run on the server that takes figures. */
export interface MlflowRun {
  readonly id: string;
  /** The last step that the server has of it; −1 without any. */
  readonly lastStep: number;
  /** Names of the settings that it has. */
  readonly params: ReadonlySet<string>;
}

const id = z.string().regex(/^[\w-]{1,200}$/);
const savedSchema = z.object({ uri: z.string(), experiment: z.string(), run_id: id });
const experimentSchema = z.object({
  experiment: z.looseObject({ experiment_id: id, lifecycle_stage: z.string().optional() }),
});
const madeSchema = z.object({ experiment_id: id });
const runSchema = z.object({
  run: z.object({
    info: z.looseObject({ run_id: id, lifecycle_stage: z.string().optional() }),
    data: z
      .looseObject({
        metrics: z.array(z.looseObject({ step: z.coerce.number().optional() })).optional(),
        params: z.array(z.looseObject({ key: z.string() })).optional(),
      })
      .optional(),
  }),
});

/**
 * The run that `file` names, set to running again; else a new one, whose id is written there.
 * @throws MlflowError, S3aError WRITE
 */
export async function openMlflowRun(api: MlflowApi, place: MlflowPlace, file: string, now: number): Promise<MlflowRun> {
  const saved = await savedRun(place, file);
  const known = saved && (await runAgain(api, saved));
  if (known) return known;
  const experiment_id = await experimentOf(api, place.experiment);
  const { run } = parsed(
    runSchema,
    await api.post('runs/create', {
      experiment_id,
      run_name: basename(dirname(resolve(file))),
      start_time: now,
      tags: [
        { key: 'mlflow.source.name', value: 's3a' },
        { key: 'mlflow.source.type', value: 'LOCAL' },
      ],
    }),
  );
  const { run_id } = run.info;
  await writeAtomic(file, `${JSON.stringify({ uri: place.uri, experiment: place.experiment, run_id })}\n`);
  return { id: run_id, lastStep: -1, params: new Set() };
}

/** The id of the run that `file` names, where it is one of this server and experiment. */
export async function savedRun({ uri, experiment }: MlflowPlace, file: string): Promise<string | undefined> {
  if (!existsSync(file)) return undefined;
  const saved = savedSchema.safeParse(await readJson(file, 1 << 16).catch(() => undefined));
  return saved.success && saved.data.uri === uri && saved.data.experiment === experiment
    ? saved.data.run_id
    : undefined;
}

async function runAgain(api: MlflowApi, run_id: string): Promise<MlflowRun | undefined> {
  let answer: unknown;
  try {
    answer = await api.get('runs/get', { run_id });
  } catch (error) {
    if (error instanceof MlflowError && error.reason === 'RESOURCE_DOES_NOT_EXIST') return undefined;
    throw error;
  }
  const { info, data } = parsed(runSchema, answer).run;
  if (info.lifecycle_stage === 'deleted') return undefined;
  await api.post('runs/update', { run_id, status: 'RUNNING' });
  const steps = (data?.metrics ?? []).map(({ step = 0 }) => step);
  return {
    id: run_id,
    lastStep: steps.reduce((most, step) => Math.max(most, step), -1),
    params: new Set((data?.params ?? []).map(({ key }) => key)),
  };
}

async function experimentOf(api: MlflowApi, name: string): Promise<string> {
  const find = async (): Promise<string | undefined> => {
    try {
      const found = await api.get('experiments/get-by-name', { experiment_name: name });
      const { experiment } = parsed(experimentSchema, found);
      if (experiment.lifecycle_stage !== 'deleted') return experiment.experiment_id;
    } catch (error) {
      if (error instanceof MlflowError && error.reason === 'RESOURCE_DOES_NOT_EXIST') return undefined;
      throw error;
    }
    throw new MlflowError(`MLflow's experiment ${name} is deleted; restore it, or set MLFLOW_EXPERIMENT_NAME`);
  };
  const known = await find();
  if (known !== undefined) return known;
  try {
    return parsed(madeSchema, await api.post('experiments/create', { name })).experiment_id;
  } catch (error) {
    // Another training has made it in between.
    if (!(error instanceof MlflowError) || error.reason !== 'RESOURCE_ALREADY_EXISTS') throw error;
    const made = await find();
    if (made !== undefined) return made;
    throw error;
  }
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [{ path }] = result.error.issues;
  throw new MlflowError(`what answers is not MLflow: its answer has no ${path.join('.') || 'object'} as MLflow's has`);
}
