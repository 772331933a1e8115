/** Any step of discovery alone, on a run folder that is there. */
import type { ConfigInput } from '../config/schema.ts';
import { isBrought } from './brought.ts';
import { cluster } from './cluster.ts';
import { embed } from './embed.ts';
import type { RunHooks, RunSummary, StepName } from './events.ts';
import { ask, find, see, using } from './fit.ts';
import { label } from './label.ts';
import { type Run, reopenRun } from './store.ts';
import { vote } from './vote.ts';

/**
 * Runs one step with some options changed, and before it whatever it needs that is not there; what is there for the same
 * options is kept. Later steps see that their inputs changed and run again when they are asked for.
 * @throws S3aError RUN when there is no run in `folder`, and as `fit`
 */
export async function runStep(
  folder: string,
  step: StepName,
  overrides: ConfigInput = {},
  hooks: RunHooks = {},
): Promise<RunSummary> {
  return using(await reopenRun(folder, overrides, hooks), run => upTo[step](run));
}

const upTo: Readonly<Record<StepName, (run: Run) => Promise<void>>> = {
  async embed(run) {
    if (isBrought(run.config)) await see(run);
    else await embed(run);
  },
  async cluster(run) {
    await cluster(run, isBrought(run.config) ? (await see(run)).embedded : await embed(run));
  },
  async vote(run) {
    const { embedded, named } = await see(run);
    await vote(run, embedded, named, await cluster(run, embedded));
  },
  async prompt(run) {
    const { embedded, named } = await see(run);
    await ask(run, named, await vote(run, embedded, named, await cluster(run, embedded)));
  },
  async realign(run) {
    const { embedded, named, discovered } = await find(run);
    await label(run, embedded, named, discovered);
  },
};
