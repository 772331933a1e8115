/** `--dry-run`: what the language model would be asked and what a training takes, with nothing sent and nothing written. */
import type { Command } from 'commander';
import { describeEstimate, type PromptEstimate } from '../run/prompt-estimate.ts';
import { describeTraining, type TrainEstimate } from '../run/train-estimate.ts';
import type { CommonOptions, Context } from './context.ts';

export interface DryRunOption {
  dryRun?: boolean;
}

/** Adds --dry-run. */
export function addDryRun(command: Command): Command {
  return command.option(
    '--dry-run',
    'Only estimate requests to the language model, and for fit memory and time; send and write nothing',
  );
}

/**
 * Prints estimates: JSON, or a line each.
 * @param training or why there is no estimate of it
 */
export function showEstimate(
  { terminal }: Context,
  { json = false }: CommonOptions,
  estimate: PromptEstimate,
  training?: TrainEstimate | string,
): void {
  const lines = [describeEstimate(estimate), ...(training === undefined ? [] : [trainingLine(training)])];
  terminal.out(json ? `${JSON.stringify({ ...estimate, training })}\n` : `${lines.join('\n')}\n`);
}

function trainingLine(training: TrainEstimate | string): string {
  return typeof training === 'string' ? `No estimate of the training: ${training}` : describeTraining(training);
}
