/** `s3a train` and the steps of discovery, each on a run folder that is there. */
import { Command } from 'commander';
import { resolveOverrides } from '../../config/resolve.ts';
import type { Setting } from '../../config/settings.ts';
import type { StepName } from '../../run/events.ts';
import { train } from '../../run/fit.ts';
import { estimateRun } from '../../run/prompt-estimate.ts';
import { runStep } from '../../run/steps.ts';
import { addCommon, type CommonOptions, type Context, perform, quoted } from '../context.ts';
import { addDryRun, type DryRunOption, showEstimate } from '../dry-run.ts';
import { addSettings, settingSources } from '../flags.ts';
import { showSummary } from '../summary.ts';

interface Verb {
  description: string;
  groups: readonly Setting['group'][];
  examples: readonly string[];
}

const VERBS: Record<StepName | 'train', Verb> = {
  train: {
    description: 'Tune the model on a run that discover made.',
    groups: ['train', 'model', 'run'],
    examples: ['s3a train runs/photos', 's3a train runs/photos --epochs 10 --batch-size 64 --micro-batch 8'],
  },
  embed: {
    description: 'Embed the images of a run.',
    groups: ['model', 'run'],
    examples: ['s3a embed runs/photos', 's3a embed runs/photos --model ./clip-vit-large-patch14'],
  },
  cluster: {
    description: 'Cluster the embedded images of a run by k-means.',
    groups: ['discover', 'model', 'run'],
    examples: ['s3a cluster runs/photos --k 40', 's3a cluster runs/photos --k estimate --seed 1'],
  },
  vote: {
    description: 'Let the images of each cluster vote for its name.',
    groups: ['discover', 'model', 'run'],
    examples: ['s3a vote runs/photos --rounds 3', 's3a vote runs/photos --vocab names.txt'],
  },
  prompt: {
    description: 'Ask for phrases that tell the names apart that a cluster may have.',
    groups: ['discover', 'llm', 'model', 'run'],
    examples: [
      's3a prompt runs/photos --llm gloss',
      's3a prompt runs/photos --llm openai --llm-model llama3.2 --llm-base-url http://localhost:11434/v1',
    ],
  },
  realign: {
    description: 'Name the clusters again with the phrases, and label the images.',
    groups: ['discover', 'llm', 'model', 'run'],
    examples: ['s3a realign runs/photos', 's3a realign runs/photos --phrase-format "a {name}, which has {phrase}"'],
  },
};

/** In the order in which help lists them. */
export const STEP_VERBS = Object.keys(VERBS) as (StepName | 'train')[];

/** The verb of a step, which prints the names of the run as they are then. */
export function stepCommand(verb: StepName | 'train', context: Context): Command {
  const { description, groups, examples } = VERBS[verb];
  const command = new Command(verb).description(description).argument('<run>', 'run folder');
  addSettings(addCommon(command), setting => groups.includes(setting.group)).addHelpText(
    'after',
    `\nWhat the step needs and is not there is done first; what is there is kept.\n\nExamples:\n  ${examples.join('\n  ')}`,
  );
  if (verb === 'prompt') addDryRun(command);
  return command.action(async (run: string, options: CommonOptions & DryRunOption) => {
    const settings = await resolveOverrides(settingSources(command));
    if (options.dryRun) return showEstimate(context, options, await estimateRun(run, settings));
    await perform(
      context,
      options,
      `s3a ${verb} ${quoted(run)}`,
      hooks => (verb === 'train' ? train(run, settings, hooks) : runStep(run, verb, settings, hooks)),
      showSummary,
    );
  });
}
