#!/usr/bin/env node
/** The executable: one command from the arguments of this process, and its exit code. */
import { homedir } from 'node:os';
import { whyOf } from '../errors.ts';
import { runCli } from './program.ts';
import { processTerminal } from './terminal.ts';

const stop = new AbortController();
// What a shell reports of a process that such a signal ended.
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
let stopCode: number = EXIT_CODES.SIGINT;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Who asks twice does not want to wait for the next safe place.
    if (stop.signal.aborted) process.exit(EXIT_CODES[signal]);
    stopCode = EXIT_CODES[signal];
    const atOnce = signal === 'SIGINT' ? '; press Ctrl-C again to end at once' : '';
    process.stderr.write(`\nStopping at the next safe place${atOnce}.\n`);
    stop.abort(new Error('interrupted'));
  });
}
// A reader that has seen enough, such as `head`, closes the pipe.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`error: cannot write to stdout: ${whyOf(error)}\n`);
  process.exit(1);
});
// That nobody reads the progress any more, or a log has no room, is no reason to lose the work.
process.stderr.on('error', () => {});

// Shells leave the ~ in --out=~/runs as it is, and nobody means a folder of that name.
const args = process.argv
  .slice(2)
  .map(arg => arg.replace(/^(--[\w-]+=)?~(?=\/|$)/, (_, flag = '') => flag + homedir()));
const code = await runCli(args, { terminal: processTerminal(), signal: stop.signal });
process.exitCode = code === EXIT_CODES.SIGINT ? stopCode : code;
// A thread that does not end by itself after an error must not keep the shell waiting.
if (process.exitCode !== 0) setTimeout(() => process.exit(), 3000).unref();
