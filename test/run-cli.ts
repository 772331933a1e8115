/** The command line in this process, which is quicker than a process of its own. */
import { createProgram, runCli } from '../src/cli/program.ts';

/** What a command ends with and has printed. */
export interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs `s3a` with arguments. */
export async function s3a(...args: readonly string[]): Promise<Outcome> {
  const [out, err]: string[][] = [[], []];
  const code = await runCli(args, contextOf(out, err));
  return { code, out: out.join(''), err: err.join('') };
}

/** All commands with their options. */
export function commandsOf(): ReturnType<typeof createProgram>['commands'] {
  return createProgram(contextOf([], [])).commands;
}

function contextOf(out: string[], err: string[]): Parameters<typeof runCli>[1] {
  const terminal = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    redraws: false,
    colours: false,
    width: () => 80,
  };
  return { terminal, signal: new AbortController().signal };
}
