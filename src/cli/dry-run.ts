/** `--dry-run`: what the language model would be asked, with nothing sent and nothing written. */
import type { Command } from 'commander';
import { describeEstimate, type PromptEstimate } from '../run/prompt-estimate.ts';
import type { CommonOptions, Context } from './context.ts';

export interface DryRunOption {
  dryRun?: boolean;
}

/** Adds --dry-run. */
export function addDryRun(command: Command): Command {
  return command.option('--dry-run', 'Only estimate the requests to the language model; send and write nothing');
}

/** Prints an estimate: JSON or a line. */
export function showEstimate({ terminal }: Context, { json = false }: CommonOptions, estimate: PromptEstimate): void {
  terminal.out(json ? `${JSON.stringify(estimate)}\n` : `${describeEstimate(estimate)}\n`);
}
