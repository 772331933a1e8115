/** The whole command line: its verbs, and what their errors look like. */
import { Command, CommanderError } from 'commander';
import { messageOf, S3aError } from '../errors.ts';
import { versions } from '../run/manifest.ts';
import { benchCommand } from './commands/bench.ts';
import { doctorCommand } from './commands/doctor.ts';
import { evalCommand } from './commands/eval.ts';
import { exportCommand } from './commands/export.ts';
import { fitCommand } from './commands/fit.ts';
import { modelsCommand } from './commands/models.ts';
import { predictCommand } from './commands/predict.ts';
import { STEP_VERBS, stepCommand } from './commands/steps.ts';
import { vocabCommand } from './commands/vocab.ts';
import type { Context } from './context.ts';
import { printable } from './format.ts';

/** Codes of errors that are the caller's way of asking, not what was found on the way. */
const USAGE = new Set(['CONFIG']);

/** What V8, its WebAssembly and ONNX Runtime say when there is no memory. */
const NO_MEMORY = /out of memory|allocation failed|bad allocation|bad_alloc|failed to allocate/i;
const MORE_MEMORY =
  'Use smaller batches or fewer --workers; where the address space is limited, lift it (ulimit -v unlimited).';

/** All verbs. */
export function createProgram(context: Context): Command {
  const program = new Command('s3a')
    .description('Names what is in your images and labels them, without any label to learn from.')
    .version(versions().s3a, '-V, --version', 'Show the version')
    .helpOption('-h, --help', 'Show this help')
    .helpCommand('help [command]', 'Show the help of a command')
    .showHelpAfterError('(s3a --help, or --help after a command, shows what there is)')
    .addHelpText(
      'after',
      `
Examples:
  s3a fit photos --model demo --preset quick        name, label and train; the result is in runs/photos
  s3a predict runs/photos new-photos                label new images
  s3a eval runs/photos --labels truth.csv           compare with known labels

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped.`,
    );
  const commands = [
    fitCommand('fit', context),
    fitCommand('discover', context),
    ...STEP_VERBS.map(verb => stepCommand(verb, context)),
    predictCommand(context),
    evalCommand(context),
    benchCommand(context),
    exportCommand(context),
    modelsCommand(context),
    vocabCommand(context),
    doctorCommand(context),
  ];
  for (const command of commands) program.addCommand(command.copyInheritedSettings(program));
  const quiet = { writeOut: context.terminal.out, writeErr: context.terminal.err };
  for (const command of [program, ...commands]) command.exitOverride().configureOutput(quiet);
  return program;
}

/**
 * Runs one command.
 * @param args without `node` and the script
 * @returns the exit code: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C
 */
export async function runCli(args: readonly string[], context: Context): Promise<number> {
  try {
    await createProgram(context).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    // What there is to say has been printed. Commander's own failures are all about usage.
    if (error instanceof CommanderError) {
      return error.code.startsWith('commander.') && error.exitCode !== 0 ? 2 : error.exitCode;
    }
    return report(error, args.includes('--json'), context);
  }
}

function report(error: unknown, json: boolean, { terminal }: Context): number {
  const { code, hint } = describe(error);
  const message = messageOf(error);
  if (json) terminal.out(`${JSON.stringify({ error: { code, message, hint } })}\n`);
  terminal.err(`error: ${printable(message)}\n`);
  if (hint !== undefined) terminal.err(`${printable(hint)}\n`);
  if (process.env.S3A_DEBUG && error instanceof Error) terminal.err(`${error.stack}\n`);
  if (code === 'INTERRUPTED') return 130;
  return USAGE.has(code) ? 2 : 1;
}

function describe(error: unknown): { code: string; hint?: string } {
  if (NO_MEMORY.test(messageOf(error))) return { code: 'MEMORY', hint: MORE_MEMORY };
  if (error instanceof S3aError) return error;
  // What the system says (no space, no permission) is no defect of the program.
  if (error instanceof Error && 'syscall' in error) return { code: 'SYSTEM' };
  return { code: 'BUG', hint: 'This is a defect of s3a; S3A_DEBUG=1 shows where.' };
}
