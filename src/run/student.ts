/** The student of a trained run: what its last checkpoint has of it, in the tower that it was trained in. */
import { join } from 'node:path';
import type { Checkpoint } from '../clip/checkpoint/checkpoint.ts';
import type { Config } from '../config/schema.ts';
import { S3aError } from '../errors.ts';
import { loadTraining } from '../train/checkpoint.ts';
import { type TunePlan, tunePlan } from '../train/tune.ts';
import { roleWeights } from '../train/weights.ts';
import type { RunHooks } from './events.ts';
import { openModel } from './model.ts';
import { tuneSettingsOf } from './train-settings.ts';

/**
 * The student's image tower by transformers' names.
 * @param folder of the run
 * @param teacher the tuned model of the run
 * @throws S3aError EXPORT when there is no checkpoint, CHECKPOINT when it is damaged, and whatever is wrong with the model that
 * factors of low rank were trained beside
 */
export async function readStudent(
  folder: string,
  config: Config,
  teacher: Checkpoint,
  hooks: RunHooks,
): Promise<Record<string, Float32Array>> {
  const plan = tunePlan(teacher.config, tuneSettingsOf(config));
  const shapes = Object.fromEntries(plan.trained.map(({ name, shape }) => [`student.${name}`, shape]));
  const { state } = await loadTraining(join(folder, 'checkpoints'), shapes);
  if (!state)
    throw new S3aError('EXPORT', `${folder} has no checkpoint to take the student from`, 'Export the teacher.');
  return roleWeights(await frozenWeights(plan, config, teacher, hooks), plan, state.weights, 'student');
}

/** What was not trained: both networks have it, but where factors were merged into the teacher's. */
async function frozenWeights(
  { frozen, targets }: TunePlan,
  config: Config,
  teacher: Checkpoint,
  hooks: RunHooks,
): Promise<Record<string, Float32Array>> {
  const names = frozen.map(({ name }) => name);
  if (targets.length === 0) return teacher.readWeights(names);
  const start = await openModel({ model: config.model, pretrained: config.pretrained }, hooks);
  try {
    return await start.checkpoint.readWeights(names);
  } finally {
    await start.dispose();
  }
}
