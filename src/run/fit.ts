/** The whole method on one page: find the names, label the images, tune the image encoder (METHOD §2 and §3). */
import type { ConfigInput } from '../config/schema.ts';
import { bring, checkTrainable, isBrought, vocabularyOf, withoutPhrases } from './brought.ts';
import { cluster } from './cluster.ts';
import { type Embedded, embed } from './embed.ts';
import type { RunHooks, RunSummary } from './events.ts';
import { type Discovered, label } from './label.ts';
import { checkTextModel, type PromptedCluster, prompt } from './prompt.ts';
import { type Named, prototypes } from './prototypes.ts';
import { realign } from './realign.ts';
import { openRun, type Run, reopenRun } from './store.ts';
import { summarise } from './summary.ts';
import { checkTrackers } from './track.ts';
import { train as selfTrain } from './train.ts';
import { checkTuning } from './train-settings.ts';
import { type Voted, vote } from './vote.ts';

/** What to run on, and everything else that differs from the defaults. */
export interface FitOptions extends ConfigInput {
  /** Folders, image files or lists of them; none with `embeddings`. */
  images?: string | string[];
  /** The run folder. */
  out: string;
  /** Go on with the run that is in `out`. */
  resume?: boolean;
}

/**
 * Names and labels a folder of images and fine-tunes the CLIP image encoder on them, without any label.
 *
 * A run that was stopped anywhere goes on with `resume` and ends in the same bytes.
 * @throws S3aError with a code, a message and a hint for everything that can be wrong with the input
 * @example
 * const { classes } = await fit({ images: 'photos', model: 'demo', vocab: 'names.txt', out: 'runs/photos' });
 */
export async function fit({ out, resume = false, ...options }: FitOptions, hooks: RunHooks = {}): Promise<RunSummary> {
  return using(await openRun(out, options, resume, hooks), async run => {
    checkTrainable(run);
    checkTrackers(run);
    await checkTuning(run);
    const found = await find(run);
    await finish(run, found);
  });
}

/** The training-free half of `fit`: finds the names and labels the images. Throws as `fit`. */
export async function discover(
  { out, resume = false, ...options }: FitOptions,
  hooks: RunHooks = {},
): Promise<RunSummary> {
  return using(await openRun(out, options, resume, hooks), async run => {
    const { embedded, named, discovered } = await find(run);
    await label(run, embedded, named, discovered);
  });
}

/**
 * The second half of `fit`, on a run that `discover` made.
 * @param overrides settings that differ from those of the run
 * @throws S3aError RUN when there is no run in `folder`, and as `fit`
 */
export async function train(folder: string, overrides: ConfigInput = {}, hooks: RunHooks = {}): Promise<RunSummary> {
  return using(await reopenRun(folder, overrides, hooks), async run => {
    checkTrainable(run);
    checkTrackers(run);
    await checkTuning(run);
    const found = await find(run);
    await finish(run, found);
  });
}

/** What discovery has found out. */
export interface Found {
  embedded: Embedded;
  named: Named;
  discovered: Discovered;
}

/** Cluster → vote → prompt → realign; every stage that is done already is read back. */
export async function find(run: Run): Promise<Found> {
  if (!isBrought(run.config)) await checkTextModel(run);
  const { embedded, named } = await see(run);
  const clusters = await cluster(run, embedded);
  const voted = await vote(run, embedded, named, clusters);
  const prompted = await ask(run, named, voted);
  const structural = await realign(run, embedded, named, voted, prompted);
  return { embedded, named, discovered: { clusters, voted, structural } };
}

/** Features of the images and prototypes of the names: computed by the model, or brought along as files. */
export async function see(run: Run): Promise<{ embedded: Embedded; named: Named }> {
  // A vocabulary that is not there should end the run before the images are embedded, not after.
  const vocabulary = await vocabularyOf(run.config);
  if (isBrought(run.config)) return bring(run, vocabulary);
  const embedded = await embed(run);
  return { embedded, named: await prototypes(run, vocabulary) };
}

/** Phrases that tell candidates apart, where there is a text encoder to compare them with. */
export async function ask(run: Run, { vocabulary }: Named, voted: Voted): Promise<PromptedCluster[]> {
  return isBrought(run.config) ? withoutPhrases(run, voted) : prompt(run, vocabulary, voted);
}

async function finish(run: Run, { embedded, named, discovered }: Found): Promise<void> {
  const trained = await selfTrain(run, embedded, named, discovered);
  await label(run, embedded, named, discovered, trained);
}

/** Runs the work on an open run, gives the model back, and sums up. */
export async function using(run: Run, work: (run: Run) => Promise<void>): Promise<RunSummary> {
  try {
    await work(run);
    return await summarise(run);
  } catch (error) {
    await run.takeBack();
    throw error;
  } finally {
    await run.dispose();
  }
}
